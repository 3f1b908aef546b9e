-- The gateway reads rows of {{ key }}, the write functions change them; both under row security.
{% if namespace != "public" %}
GRANT USAGE ON SCHEMA {{ namespace }} TO pgsync_writer, pgsync_gateway;
{% endif %}
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {{ table }} TO pgsync_writer;
GRANT SELECT ON TABLE {{ table }} TO pgsync_gateway;
