SELECT pgsync_private.activate_schema(
{% for a in arguments %}
  {{ a }}{{ "," if not loop.last }}
{% endfor %}
);
