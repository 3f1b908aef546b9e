-- Whether a credential was ended on purpose, by revoking it or by rotation: then what was held through it ends too. One whose time is simply
-- over has not been: its participant goes on with the next one, and with the claims.
CREATE OR REPLACE FUNCTION pgsync_private.is_ended_for_good(p_credential_id text)
  RETURNS boolean
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT EXISTS (
    SELECT
    FROM pgsync_private.credential AS c
    WHERE c.id = p_credential_id
      AND (c.revoked_at IS NOT NULL OR (c.rotated_to IS NOT NULL AND c.expires_at <= pg_catalog.clock_timestamp()))
  );
$function$;

ALTER FUNCTION pgsync_private.is_ended_for_good(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.is_ended_for_good(text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.is_ended_for_good(text) IS 'Whether a credential was ended on purpose.';
