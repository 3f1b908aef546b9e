-- {{ why }}
{% if concurrently %}
-- IF NOT EXISTS would take one for it that an interrupted run has left invalid.
-- squawk-ignore prefer-robust-stmts
{% endif %}
CREATE {{ "UNIQUE " if unique }}INDEX {{ "CONCURRENTLY " if concurrently }}{{ index }} ON {{ table }} ({{ columns }});
{% if not concurrently %}
COMMENT ON INDEX {{ qualified }} IS {{ comment }};
{% endif %}
