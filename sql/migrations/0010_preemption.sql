-- Who may take a claim that somebody holds.

ALTER TABLE pgsync_private.credential
  ADD COLUMN may_preempt boolean NOT NULL DEFAULT false,
  -- The table has a row per key.
  -- squawk-ignore constraint-missing-not-valid
  ADD CONSTRAINT credential_may_preempt_check CHECK (NOT may_preempt OR kind <> 'pk');
COMMENT ON COLUMN pgsync_private.credential.may_preempt IS
  'Granted as claim.preempt, and kept apart from operations, where clients would not understand it.';

-- What the next push replaces by a function that knows the models.
CREATE FUNCTION pgsync_generated.claims_preemptible(p_model text)
  RETURNS boolean
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT false
$function$;
ALTER FUNCTION pgsync_generated.claims_preemptible(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.claims_preemptible(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.claims_preemptible(text) TO pgsync_writer;
