-- A moment as it travels: 2026-01-02T03:04:05.000Z, with six digits when the microseconds are not whole milliseconds.
CREATE OR REPLACE FUNCTION pgsync_private.iso(p_at timestamptz)
  RETURNS text
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN CASE
    WHEN p_at = pg_catalog.date_trunc('milliseconds', p_at)
      THEN pg_catalog.to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    ELSE pg_catalog.to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  END;

ALTER FUNCTION pgsync_private.iso(timestamptz) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.iso(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.iso(timestamptz) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.iso(timestamptz) IS 'A moment as it travels on the wire.';
