    SELECT DISTINCT
      s.oid::pg_catalog.regclass::text AS name
    FROM pg_catalog.pg_attrdef AS d
    JOIN pg_catalog.pg_depend AS u
      ON u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
      AND u.objid = d.oid
      AND u.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    JOIN pg_catalog.pg_class AS s
      ON s.oid = u.refobjid
      AND s.relkind = 'S'
    WHERE d.adrelid = {{ identity_literal }}::pg_catalog.regclass
