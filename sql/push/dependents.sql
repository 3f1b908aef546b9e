-- What others have made that names a column and would not survive another one in its place; null: nothing. Reads only.
SELECT pg_catalog.string_agg(DISTINCT o.object, ', ' ORDER BY o.object)
FROM (
  SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS object
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_depend AS d
    ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.refobjid = a.attrelid
    AND d.refobjsubid = a.attnum
  LEFT JOIN pg_catalog.pg_attrdef AS e
    ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
    AND e.oid = d.objid
  LEFT JOIN pg_catalog.pg_policy AS p
    ON d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
    AND p.oid = d.objid
  LEFT JOIN pg_catalog.pg_constraint AS k
    ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
    AND k.oid = d.objid
  LEFT JOIN pg_catalog.pg_class AS c
    ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND c.oid = d.objid
  LEFT JOIN pg_catalog.pg_index AS i
    ON i.indexrelid = c.oid
  WHERE a.attrelid = {{ table_literal }}::pg_catalog.regclass
    AND a.attname = {{ column_literal }}
    AND COALESCE(e.adnum, 0) <> a.attnum
    AND COALESCE(p.polname, '') NOT LIKE 'pgsync\_%'
    AND COALESCE(k.contype, '') <> 'n'
    AND COALESCE(k.conname, '') <> ALL (ARRAY[{{ constraints }}]::text[])
    AND COALESCE(c.relname, '') <> ALL (ARRAY[{{ indexes }}]::text[])
{% if relabel %}
    AND NOT COALESCE(i.indexprs IS NULL AND i.indpred IS NULL AND NOT i.indisprimary, false)
{% endif %}
  UNION ALL
  SELECT 'rights on the column'
  FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = {{ table_literal }}::pg_catalog.regclass
    AND a.attname = {{ column_literal }}
    AND a.attacl IS NOT NULL
{% if not relabel %}
  UNION ALL
  SELECT 'trigger ' || g.tgname || ', which would come after ours'
  FROM pg_catalog.pg_trigger AS g
  WHERE g.tgrelid = {{ table_literal }}::pg_catalog.regclass
    AND NOT g.tgisinternal
    AND g.tgname > 'zz_pgsync_retype'
    AND g.tgtype & 2 = 2
{% endif %}
) AS o;
