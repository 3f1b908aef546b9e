-- Fields of a row that an update has changed, of a table whose columns are not those that the record trigger was made for. A field whose column
-- is not there, under the name that it had, counts as changed. p_columns: [[column, field], ..] in order.
CREATE OR REPLACE FUNCTION pgsync_private.changed_fields(p_old jsonb, p_new jsonb, p_columns jsonb)
  RETURNS text[]
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  RETURN ARRAY(
    SELECT c.c ->> 1
    FROM pg_catalog.jsonb_array_elements(p_columns) WITH ORDINALITY AS c(c, n)
    WHERE NOT p_new ? (c.c ->> 0)
      OR p_old -> (c.c ->> 0) IS DISTINCT FROM p_new -> (c.c ->> 0)
    ORDER BY c.n
  );

ALTER FUNCTION pgsync_private.changed_fields(jsonb, jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.changed_fields(jsonb, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.changed_fields(jsonb, jsonb, jsonb) IS
  'Fields that an update has changed, of a table whose columns are not those of the schema.';
