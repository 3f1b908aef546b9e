-- Whether a secret key may hand out these operations and groups: null, or the refusal. Nobody hands out more than there is to hand out:
-- an empty list of operations is everything, which only a key with everything may pass on.
CREATE OR REPLACE FUNCTION pgsync_private.check_grantable(p_minter pgsync_private.credential, p_operations text[], p_groups text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_held text[] := (p_minter).operations;
  v_lacking text;
BEGIN
  IF pg_catalog.cardinality(v_held) > 0 THEN
    IF pg_catalog.cardinality(p_operations) = 0 THEN
      RETURN pgsync_private.refusal('wide_scope_forbidden', 'this secret key is limited and cannot hand out everything: name the operations');
    END IF;
    SELECT o.o
    INTO v_lacking
    FROM pg_catalog.unnest(p_operations) WITH ORDINALITY AS o(o, n)
    WHERE o.o <> ALL (v_held)
      AND ('*.' || pg_catalog.split_part(o.o, '.', 2)) <> ALL (v_held)
    ORDER BY o.n
    LIMIT 1;
    IF FOUND THEN
      RETURN pgsync_private.refusal(
        'capability_scope_denied',
        pg_catalog.format('this secret key may not hand out %s: it does not have it', v_lacking),
        pg_catalog.jsonb_build_object('requiredCapability', pg_catalog.jsonb_build_object('scope', v_lacking)));
    END IF;
  END IF;

  SELECT g.g
  INTO v_lacking
  FROM pg_catalog.unnest(p_groups) WITH ORDINALITY AS g(g, n)
  WHERE g.g <> ALL (pgsync_private.grantable_groups(p_minter, p_groups))
  ORDER BY g.n
  LIMIT 1;
  IF FOUND THEN
    RETURN pgsync_private.refusal(
      CASE WHEN v_lacking LIKE 'org:%' THEN 'organization_mismatch' ELSE 'forbidden' END,
      pg_catalog.format('this secret key may not hand out the sync group %s', pg_catalog.to_json(v_lacking)),
      '{"param": "syncGroups"}');
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.check_grantable(pgsync_private.credential, text[], text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_grantable(pgsync_private.credential, text[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.check_grantable(pgsync_private.credential, text[], text[]) IS
  'Whether a secret key may hand out these operations and groups; null when it may.';
