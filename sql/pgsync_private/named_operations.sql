-- A list of grants as they are kept, <typename in lower case>.<verb>, from one that may call models by key or table, too, in any case.
-- What names no model of the active schema stays as it is: it may come to be one, or be refused by check_operations. Null stays null.
CREATE OR REPLACE FUNCTION pgsync_private.named_operations(p_operations text[])
  RETURNS text[]
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT CASE
    WHEN p_operations IS NOT NULL THEN ARRAY(
      SELECT COALESCE(named.operation, o.o)
      FROM pg_catalog.unnest(p_operations) WITH ORDINALITY AS o(o, n)
      LEFT JOIN LATERAL (
        SELECT pg_catalog.lower(m.m ->> 'typename') || pg_catalog.lower(v.parts[2]) AS operation
        FROM pg_catalog.regexp_match(o.o, '^(.*)(\.(?:read|create|update|delete))$', 'i') AS v(parts)
        CROSS JOIN pgsync_private.schema_version AS s
        CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
        WHERE s.state = 'active'
          AND pg_catalog.lower(v.parts[1]) IN (
            pg_catalog.lower(m.m ->> 'typename'), pg_catalog.lower(m.m ->> 'key'), pg_catalog.lower(m.m ->> 'table'))
        ORDER BY pg_catalog.lower(m.m ->> 'typename') = pg_catalog.lower(v.parts[1]) DESC
        LIMIT 1
      ) AS named ON true
      ORDER BY o.n
    )
  END;
$function$;

ALTER FUNCTION pgsync_private.named_operations(text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.named_operations(text[]) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.named_operations(text[]) IS 'A list of grants by typename, from one that may call models by key or table.';
