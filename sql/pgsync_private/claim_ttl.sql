-- The duration that a request gives as a number of seconds or as <n>ms, s, m or h; the default of 60 seconds when it gives none.
-- Null: it is neither, or not between 1 millisecond and 24 hours.
CREATE OR REPLACE FUNCTION pgsync_private.claim_ttl(p_ttl jsonb)
  RETURNS interval
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_text text := p_ttl #>> '{}';
  v_seconds numeric;
BEGIN
  v_seconds := CASE
    WHEN COALESCE(pg_catalog.jsonb_typeof(p_ttl), 'null') = 'null' THEN 60
    WHEN pg_catalog.jsonb_typeof(p_ttl) = 'number' THEN v_text::numeric
    WHEN pg_catalog.jsonb_typeof(p_ttl) = 'string' AND v_text ~ '^[0-9]{1,12}([.][0-9]{1,6})?(ms|s|m|h)$'
      THEN pg_catalog.substring(v_text, '^[0-9.]+')::numeric
        * CASE pg_catalog.substring(v_text, '[a-z]+$') WHEN 'ms' THEN 0.001 WHEN 's' THEN 1 WHEN 'm' THEN 60 ELSE 3600 END
  END;
  IF v_seconds BETWEEN 0.001 AND 86400 THEN
    RETURN pg_catalog.make_interval(secs => v_seconds::double precision);
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.claim_ttl(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_ttl(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_ttl(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_ttl(jsonb) IS 'How long a claim is to last; null when it cannot be read.';
