{% for mode, tables in locks %}
LOCK TABLE {{ tables | join(", ") }} IN {{ mode }} MODE;
{% endfor %}
