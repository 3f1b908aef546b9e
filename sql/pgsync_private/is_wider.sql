-- Whether a push that gives a column another type, both as format_type prints them, leaves every value as clients have it: a longer text,
-- a larger whole number, more digits before the point.
CREATE OR REPLACE FUNCTION pgsync_private.is_wider(p_before text, p_now text)
  RETURNS boolean
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT CASE
    WHEN p_before = p_now THEN true
    WHEN p_now IN ('text', 'character varying') THEN p_before = 'text' OR p_before ~ '^character varying(\(\d+\))?$'
    WHEN p_now ~ '^character varying\(\d+\)$' AND p_before ~ '^character varying\(\d+\)$' THEN
      pg_catalog.substring(p_before, '\d+')::integer <= pg_catalog.substring(p_now, '\d+')::integer
    WHEN p_now IN ('integer', 'bigint') THEN
      p_before = 'smallint' OR (p_before = 'integer' AND p_now = 'bigint')
    WHEN p_now = 'numeric' THEN p_before ~ '^numeric\(\d+,\d+\)$'
    WHEN p_now ~ '^numeric\(\d+,\d+\)$' AND p_before ~ '^numeric\(\d+,\d+\)$' THEN
      pg_catalog.substring(p_before, '(\d+),')::integer <= pg_catalog.substring(p_now, '(\d+),')::integer
      AND pg_catalog.substring(p_before, ',(\d+)') = pg_catalog.substring(p_now, ',(\d+)')
    ELSE false
  END;
$function$;

ALTER FUNCTION pgsync_private.is_wider(text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.is_wider(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.is_wider(text, text) IS 'Whether another type of a column leaves every value as clients have it.';
