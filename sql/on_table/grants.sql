-- The gateway reads rows of {{ key }}, the write functions change them; both under row security.
{% if namespace != "public" %}
GRANT USAGE ON SCHEMA {{ namespace }} TO pgsync_writer, pgsync_gateway;
{% else %}
DO $usage$
BEGIN
  IF NOT pg_catalog.has_schema_privilege('pgsync_writer', 'public', 'USAGE') OR NOT pg_catalog.has_schema_privilege('pgsync_gateway', 'public', 'USAGE') THEN
    GRANT USAGE ON SCHEMA public TO pgsync_writer, pgsync_gateway;
  END IF;
END
$usage$;
{% endif %}
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {{ table }} TO pgsync_writer;
GRANT SELECT ON TABLE {{ table }} TO pgsync_gateway;
{% if sequences %}
-- Sequences that columns of the table take their values from: whoever inserts a row needs them, and an id is asked for before it is written.
DO $sequences$
DECLARE
  v_sequence record;
BEGIN
  FOR v_sequence IN
{% include "on_table/sequences.sql" %}
    ORDER BY name
  LOOP
    EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO pgsync_writer', v_sequence.name);
  END LOOP;
END
$sequences$;
{% endif %}
