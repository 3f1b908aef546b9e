-- Creates a row of {{ m.key }}. Returns created, or exists when there is a row with this id, which is left as it is.
-- Raises: as {{ m.name }}_check; PS103 for a required field that is missing; PS106 for an id that the key's type does not take; PS410 for a row
-- that a trigger or rule keeps from being written; the table's own constraints.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_create(p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
{% if m.must_be_given %}
  v_field text;
{% endif %}
BEGIN
  v_ignored := pgsync_generated.{{ m.name }}_check(p_data);
{% if m.must_be_given %}
  IF NOT p_data ?& ARRAY[{{ m.must_be_given }}] THEN
    SELECT pg_catalog.min(r.r)
    INTO v_field
    FROM pg_catalog.unnest(ARRAY[{{ m.must_be_given }}]) AS r(r)
    WHERE NOT p_data ? r.r;
    RAISE EXCEPTION USING
      ERRCODE = 'PS103',
      MESSAGE = pg_catalog.format('%s.%s is required', {{ m.key_literal }}, v_field),
      HINT = 'Send a value: the schema declares no default.',
      COLUMN = v_field;
  END IF;
{% endif %}
{% if m.id_check %}
  {{ m.id_check }}
{% endif %}
{% if m.references %}
{% include "pgsync_generated/references.sql" %}
{% endif %}
  INSERT INTO {{ m.table }} AS t (
{% for c in m.inserted %}
    {{ c.column }}{{ "," if not loop.last }}
{% endfor %}
  )
{% if m.identity %}
  OVERRIDING SYSTEM VALUE
{% endif %}
  VALUES (
{% for c in m.inserted %}
    {{ c.value }}{{ "," if not loop.last }}
{% endfor %}
  )
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    RETURN 'created';
  END IF;
  -- What triggers were given is over: names below are ours again.
  v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  IF EXISTS (
    SELECT
    FROM {{ m.table }} AS t
    WHERE {{ m.where }}
  ) THEN
    RETURN 'exists';
  END IF;
  -- Something else is in the way: a value that is taken or, where the id alone is the key, somebody else's row. Postgres says which. A trigger or
  -- rule says nothing.
  INSERT INTO {{ m.table }} AS t (
{% for c in m.inserted %}
    {{ c.column }}{{ "," if not loop.last }}
{% endfor %}
  )
{% if m.identity %}
  OVERRIDING SYSTEM VALUE
{% endif %}
  VALUES (
{% for c in m.inserted %}
    {{ c.value }}{{ "," if not loop.last }}
{% endfor %}
  );
  IF FOUND THEN
    RETURN 'created';
  END IF;
  RETURN pgsync_private.unwritten({{ m.identity_literal }}, 'create', '{{ m.name }}', p_id, true);
END
$function$;
