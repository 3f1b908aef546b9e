-- A moment as claims carry it: whole milliseconds since 1970.
CREATE OR REPLACE FUNCTION pgsync_private.claim_ms(p_at timestamptz)
  RETURNS bigint
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pg_catalog.floor(EXTRACT(EPOCH FROM p_at) * 1000)::bigint;

ALTER FUNCTION pgsync_private.claim_ms(timestamptz) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_ms(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_ms(timestamptz) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_ms(timestamptz) IS 'A moment in whole milliseconds since 1970.';
