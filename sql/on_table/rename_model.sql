-- Model {{ before }} is {{ key }} from now on: claims, tracked premises and grants of credentials follow, so does its history in the logs, and
-- what was read of it before is stale once.
SELECT pgsync_private.rename_model(
{% for a in arguments %}
  {{ a }}{{ "," if not loop.last }}
{% endfor %}
);
