-- Whether rows refer to rows that are not there. Reads only.
SELECT EXISTS (
  SELECT
  FROM {{ table }} AS t
  WHERE t.{{ column }} IS NOT NULL
    AND NOT EXISTS (
      SELECT
      FROM {{ target }} AS r
      WHERE r.{{ id }} = t.{{ column }}
{% if tenant and target_tenant %}
        AND r.{{ target_tenant }} = t.{{ tenant }}
{% endif %}
    )
);
