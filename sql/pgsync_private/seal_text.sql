-- What the hash of a seal is the SHA-256 of, in UTF-8: nine lines, the last of them the contents, which may be several. Fixed for good, so that
-- anybody can count it again; sql/audit/seals.sql and the documentation spell it out, too.
CREATE OR REPLACE FUNCTION pgsync_private.seal_text(p_seal pgsync_private.audit_seal)
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.concat_ws(
    pg_catalog.chr(10),
    'pgsync seal 1',
    p_seal.number,
    pg_catalog.encode(p_seal.previous_hash, 'hex'),
    p_seal.snapshot::text,
    pg_catalog.to_char(p_seal.kept_from, 'YYYY-MM-DD'),
    p_seal.first_position,
    p_seal.row_count,
    pg_catalog.to_char(p_seal.sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    p_seal.contents)
$function$;

ALTER FUNCTION pgsync_private.seal_text(pgsync_private.audit_seal) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.seal_text(pgsync_private.audit_seal) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.seal_text(pgsync_private.audit_seal) IS 'What the hash of a seal is the SHA-256 of.';
