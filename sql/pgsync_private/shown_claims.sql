-- Claims as the caller, whose identity has been set, may be told of them: of those that he is not shown nothing is left but that there is one.
CREATE OR REPLACE FUNCTION pgsync_private.shown_claims(p_claims pgsync_private.claim[])
  RETURNS pgsync_private.claim[]
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_identity jsonb := pgsync_private.current_identity();
  v_claim pgsync_private.claim;
  v_shown pgsync_private.claim[] := ARRAY[]::pgsync_private.claim[];
  v_nobody pgsync_private.claim;
BEGIN
  FOREACH v_claim IN ARRAY p_claims
  LOOP
    IF v_claim.organization_id <> v_identity ->> 'organizationId' OR pgsync_private.sees_claim(v_identity, v_claim) THEN
      v_shown := pg_catalog.array_append(v_shown, v_claim);
    ELSE
      v_shown := pg_catalog.array_append(v_shown, v_nobody);
    END IF;
  END LOOP;
  RETURN v_shown;
END
$function$;

ALTER FUNCTION pgsync_private.shown_claims(pgsync_private.claim[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.shown_claims(pgsync_private.claim[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.shown_claims(pgsync_private.claim[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.shown_claims(pgsync_private.claim[]) IS 'Claims as the caller may be told of them.';
