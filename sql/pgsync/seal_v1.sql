-- Seals what has been committed since the newest seal, some p_limit rows at most: {"number", "hash", "rows", "sealedAt", "more"}, where more
-- says that there is more to seal already; null when there is nothing to seal, or somebody else is sealing and p_wait is false.
-- Not part of any commit: gateways call it every minute, anybody with the right may at any time, each call in a transaction of its own.
-- Raises: PS101 and PS901 as pgsync_private.seal.
-- SECURITY DEFINER: the chain is private, and nobody but this function writes it.
CREATE OR REPLACE FUNCTION pgsync.seal_v1(p_limit integer DEFAULT 20000, p_wait boolean DEFAULT false)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_lock bigint := pg_catalog.hashtextextended('pgsync seal', 0);
  v_end xid8;
  v_seal pgsync_private.audit_seal;
BEGIN
  IF p_wait THEN
    PERFORM pg_catalog.pg_advisory_xact_lock(v_lock);
  ELSIF NOT pg_catalog.pg_try_advisory_xact_lock(v_lock) THEN
    RETURN NULL;
  END IF;
  v_end := pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot());
  v_seal := pgsync_private.seal(p_limit);
  IF v_seal.number IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN pg_catalog.jsonb_build_object(
    'number', v_seal.number,
    'hash', pg_catalog.encode(v_seal.hash, 'hex'),
    'rows', v_seal.row_count,
    'sealedAt', pgsync_private.iso(v_seal.sealed_at),
    'more', pg_catalog.pg_snapshot_xmax(v_seal.snapshot) < v_end);
END
$function$;

ALTER FUNCTION pgsync.seal_v1(integer, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.seal_v1(integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.seal_v1(integer, boolean) TO pgsync_listener;
COMMENT ON FUNCTION pgsync.seal_v1(integer, boolean) IS 'Seals what has been committed since the newest seal.';
