    SELECT
      s.oid::pg_catalog.regclass::text AS name
    FROM pg_catalog.pg_class AS s
    WHERE s.relkind = 'S'
      AND s.oid IN (
        SELECT u.refobjid
        FROM pg_catalog.pg_attrdef AS d
        JOIN pg_catalog.pg_depend AS u
          ON u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
          AND u.objid = d.oid
          AND u.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        WHERE d.adrelid = {{ identity_literal }}::pg_catalog.regclass
        UNION ALL
        SELECT i.objid
        FROM pg_catalog.pg_depend AS i
        WHERE i.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND i.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND i.refobjid = {{ identity_literal }}::pg_catalog.regclass
          AND i.deptype = 'i' -- of an identity column
      )
