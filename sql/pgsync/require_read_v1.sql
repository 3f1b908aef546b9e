-- Refuses a read of a model that the caller's grants leave out; row security would only make its rows vanish.
-- Called after set_identity_v1 in the same transaction, with the lower-cased typename.
-- Raises: PS301, with requiredCapability in DETAIL.
CREATE OR REPLACE FUNCTION pgsync.require_read_v1(p_model text)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF NOT pgsync.may_read(p_model) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS301',
      MESSAGE = pg_catalog.format('this credential may not read %s', p_model),
      DETAIL = pg_catalog.jsonb_build_object('requiredCapability', pg_catalog.jsonb_build_object('scope', p_model || '.read'))::text,
      HINT = 'Mint a credential whose operations include it.';
  END IF;
END
$function$;

ALTER FUNCTION pgsync.require_read_v1(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.require_read_v1(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.require_read_v1(text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.require_read_v1(text) IS 'Refuses a read of a model that the caller''s grants leave out.';
