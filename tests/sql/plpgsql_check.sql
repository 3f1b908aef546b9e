-- What plpgsql_check says of every PL/pgSQL function of ours, with every kind of warning; trigger functions once for each table that has them.
-- `line` is the line that it speaks of, as it stands in the function.
SELECT
  p.oid::regprocedure::text AS function,
  p.tgrelid::regclass::text AS relation,
  c.level,
  concat_ws('; ', c.message, c.detail, c.hint) AS message,
  COALESCE(btrim((string_to_array(p.prosrc, E'\n'))[c.lineno]), '') AS line
FROM (
  SELECT DISTINCT
    f.oid,
    f.prosrc,
    t.tgrelid
  FROM pg_proc AS f
  JOIN pg_language AS l
    ON l.oid = f.prolang
    AND l.lanname = 'plpgsql'
  LEFT JOIN pg_trigger AS t
    ON t.tgfoid = f.oid
  WHERE f.pronamespace = ANY (ARRAY['pgsync', 'pgsync_private', 'pgsync_generated']::regnamespace[])
    AND (f.prorettype <> 'trigger'::regtype OR t.tgrelid IS NOT NULL)
) AS p
CROSS JOIN LATERAL plpgsql_check_function_tb(
  funcoid => p.oid,
  relid => COALESCE(p.tgrelid, 0::oid),
  fatal_errors => false,
  other_warnings => true,
  performance_warnings => true,
  extra_warnings => true,
  security_warnings => true
) AS c
ORDER BY function, relation, message;
