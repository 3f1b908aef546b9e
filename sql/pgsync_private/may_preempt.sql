-- Whether a credential may take claims that others hold, where the model allows it: it was granted claim.preempt, or is a secret key that may
-- do everything.
CREATE OR REPLACE FUNCTION pgsync_private.may_preempt(p_credential pgsync_private.credential)
  RETURNS boolean
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  RETURN (p_credential).may_preempt
    OR ((p_credential).kind = 'sk' AND pg_catalog.cardinality((p_credential).operations) = 0 AND NOT (p_credential).control_plane_only);

ALTER FUNCTION pgsync_private.may_preempt(pgsync_private.credential) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.may_preempt(pgsync_private.credential) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.may_preempt(pgsync_private.credential) IS 'Whether a credential may take claims that others hold.';
