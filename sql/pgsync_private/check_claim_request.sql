-- What is wrong with the form of a request for a claim: {"code", "message", "param"} or null.
-- A part of a row is any name, compared without case; a comma would make two of one in a list, so none may hold it.
CREATE OR REPLACE FUNCTION pgsync_private.check_claim_request(p_request jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_target jsonb := COALESCE(NULLIF(p_request -> 'target', 'null'), '{}');
  v_meta jsonb;
  v_fields jsonb;
  v_param text;
BEGIN
  IF pg_catalog.jsonb_typeof(p_request) <> 'object' OR pg_catalog.jsonb_typeof(v_target) <> 'object' THEN
    RETURN '{"code": "malformed_claim", "message": "a claim and its target are objects", "param": "target"}'::jsonb;
  END IF;
  v_param := (
    SELECT pg_catalog.min(t.name)
    FROM (
      VALUES
        ('claimId', p_request -> 'claimId', 255),
        ('description', p_request -> 'description', 1000),
        ('reason', p_request -> 'reason', 1000),
        ('target.field', v_target -> 'field', 255)
    ) AS t(name, value, longest)
    WHERE COALESCE(pg_catalog.jsonb_typeof(t.value), 'null') <> 'null'
      AND (pg_catalog.jsonb_typeof(t.value) <> 'string' OR pg_catalog.char_length(t.value #>> '{}') NOT BETWEEN 1 AND t.longest)
  );
  IF v_param IS NOT NULL THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'malformed_claim',
      'message', pg_catalog.format('%s is text of a reasonable length', v_param),
      'param', v_param);
  END IF;
  IF COALESCE(pg_catalog.jsonb_typeof(p_request -> 'queue'), 'null') NOT IN ('boolean', 'null') THEN
    RETURN '{"code": "malformed_claim", "message": "queue is true (wait in line) or false (now or never)", "param": "queue"}'::jsonb;
  END IF;
  IF COALESCE(pg_catalog.jsonb_typeof(p_request -> 'preempt'), 'null') NOT IN ('boolean', 'null') THEN
    RETURN '{"code": "malformed_claim", "message": "preempt is true (take the row from its holder) or false", "param": "preempt"}'::jsonb;
  END IF;
  IF pgsync_private.claim_ttl(p_request -> 'ttl') IS NULL THEN
    RETURN '{"code": "malformed_claim", "message": "ttl is a number of seconds or <n>ms, s, m or h, up to 24 hours", "param": "ttl"}'::jsonb;
  END IF;
  FOREACH v_meta IN ARRAY ARRAY[p_request -> 'meta', v_target -> 'meta', p_request -> 'details']
  LOOP
    IF COALESCE(pg_catalog.jsonb_typeof(v_meta), 'null') NOT IN ('object', 'null') OR pg_catalog.octet_length(v_meta::text) > 16384 THEN
      RETURN '{"code": "malformed_claim", "message": "meta and details are objects of at most 16 kB", "param": "meta"}'::jsonb;
    END IF;
  END LOOP;
  v_fields := COALESCE(NULLIF(v_target -> 'fields', 'null'), '[]');
  IF pg_catalog.jsonb_typeof(v_fields) <> 'array' THEN
    RETURN '{"code": "malformed_claim", "message": "fields is an array of names", "param": "target.fields"}'::jsonb;
  END IF;
  IF pg_catalog.jsonb_array_length(v_fields) > 100
    OR EXISTS (
      SELECT
      FROM pg_catalog.jsonb_array_elements(v_fields) AS f(f)
      WHERE pg_catalog.jsonb_typeof(f.f) <> 'string'
        OR pg_catalog.char_length(f.f #>> '{}') NOT BETWEEN 1 AND 255
    )
  THEN
    RETURN '{"code": "malformed_claim", "message": "fields is an array of at most 100 names", "param": "target.fields"}'::jsonb;
  END IF;
  IF EXISTS (
    SELECT
    FROM pg_catalog.jsonb_array_elements_text(v_fields || COALESCE(NULLIF(v_target -> 'field', 'null'), '[]')) AS f(f)
    WHERE f.f LIKE '%,%'
  ) THEN
    RETURN '{"code": "malformed_claim", "message": "the name of a part of a row holds no comma", "param": "target.fields"}'::jsonb;
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.check_claim_request(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_claim_request(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_claim_request(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_claim_request(jsonb) IS 'What is wrong with the form of a request for a claim; null when nothing is.';
