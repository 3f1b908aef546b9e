-- Model {{ key }}: a column beside each one that changes its type, and a trigger that gives it the same value with every write. A value that the
-- new type does not take stays without one; nobody's write is refused for it. It fires last, after triggers that change the row.
BEGIN;
{% for c in columns %}
{% if c.drop_first %}
-- squawk-ignore ban-drop-column
ALTER TABLE {{ table }} DROP COLUMN {{ c.beside }};
{% endif %}
ALTER TABLE {{ table }} ADD COLUMN IF NOT EXISTS {{ c.beside }} {{ c.type }};
COMMENT ON COLUMN {{ table }}.{{ c.beside }} IS '[pgsync retype] Values of the column beside it, until that has this type.';
{% endfor %}
CREATE OR REPLACE FUNCTION {{ function }}()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET timezone = 'UTC'
  SET datestyle = 'ISO, YMD'
  SET intervalstyle = 'postgres'
  SET extra_float_digits = '1'
  SET bytea_output = 'hex'
AS $function$
BEGIN
{% for c in columns %}
  BEGIN
    NEW.{{ c.beside }} := NEW.{{ c.source }}::{{ c.base }};
  EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    NEW.{{ c.beside }} := {{ c.otherwise or "NULL" }};
  END;
{% endfor %}
  RETURN NEW;
END
$function$;
ALTER FUNCTION {{ function }}() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION {{ function }}() FROM PUBLIC;
COMMENT ON FUNCTION {{ function }}() IS '[pgsync model={{ key }}] Copies columns whose type changes.';
CREATE OR REPLACE TRIGGER zz_pgsync_retype
  BEFORE INSERT OR UPDATE ON {{ table }}
  FOR EACH ROW
  EXECUTE FUNCTION {{ function }}();
ALTER TABLE {{ table }} ENABLE ALWAYS TRIGGER zz_pgsync_retype;
COMMIT;
