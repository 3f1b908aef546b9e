-- Checks the data of a write to {{ m.key }}: known fields, JSON types, enum values, nulls. Base fields are the server's own.
-- Raises: PS104 unknown field, PS105 wrong JSON type, 23502 null in a required field, 23514 not an enum value, PS303 foreign organization.
-- COLUMN names the field.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_check(p_data jsonb)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_field text;
BEGIN
  IF p_data - ARRAY[{{ m.known_fields }}] <> '{}' THEN
    SELECT pg_catalog.min(k.k)
    INTO v_field
    FROM pg_catalog.jsonb_object_keys(p_data - ARRAY[{{ m.known_fields }}]) AS k(k);
    RAISE EXCEPTION USING
      ERRCODE = 'PS104',
      MESSAGE = pg_catalog.format('%s has no field %s', {{ m.key_literal }}, pg_catalog.to_json(v_field)),
      DETAIL = 'fields: ' || {{ m.field_list_literal }},
      HINT = 'Add the field to the schema and push it, or leave it out.',
      COLUMN = v_field;
  END IF;
{% if m.tenant_field %}
  IF p_data ->> {{ m.tenant_field }} <> pgsync.organization_id() THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS303',
      MESSAGE = 'a row belongs to the organization of the credential that writes it',
      HINT = 'Leave ' || {{ m.tenant_field }} || ' out.',
      COLUMN = {{ m.tenant_field }};
  END IF;
{% endif %}
{% if m.checked %}

  v_field := CASE
{% for f in m.checked %}
    WHEN pg_catalog.jsonb_typeof(p_data -> {{ f.literal }}) NOT IN ({{ f.json_types }}) THEN {{ f.literal }}
{% endfor %}
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS105',
      MESSAGE = pg_catalog.format('%s.%s: the value is a JSON %s', {{ m.key_literal }}, v_field, pg_catalog.jsonb_typeof(p_data -> v_field)),
      DETAIL = 'expected: ' || CASE v_field
{% for f in m.checked %}
        WHEN {{ f.literal }} THEN '{{ f.expected }}'
{% endfor %}
        END,
      HINT = 'Send the JSON type that the schema declares.',
      COLUMN = v_field;
  END IF;
{% endif %}
{% if m.decimal_arrays %}

  v_field := CASE
{% for f in m.decimal_arrays %}
    WHEN pg_catalog.octet_length(p_data ->> {{ f.literal }}) > 1000
      AND pgsync_private.written_out_bytes(p_data -> {{ f.literal }}) > 16777216
      THEN {{ f.literal }}
{% endfor %}
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '22003',
      MESSAGE = pg_catalog.format('%s.%s: the numbers are too long when they are written out without their exponents', {{ m.key_literal }}, v_field),
      HINT = 'At most 16 MB of digits.',
      COLUMN = v_field;
  END IF;
{% endif %}
{% if m.readonly %}

  v_field := CASE
{% for f in m.readonly %}
    WHEN p_data ? {{ f.literal }} THEN {{ f.literal }}
{% endfor %}
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS104',
      MESSAGE = pg_catalog.format('%s.%s is written by the database only', {{ m.key_literal }}, v_field),
      HINT = 'Leave it out.',
      COLUMN = v_field;
  END IF;
{% endif %}
{% if m.enums %}

  v_field := CASE
{% for f in m.enums %}
    WHEN p_data ->> {{ f.literal }} NOT IN ({{ f.enum_literals }}) THEN {{ f.literal }}
{% endfor %}
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '23514',
      MESSAGE = pg_catalog.format('%s.%s: %s is not one of: %s', {{ m.key_literal }}, v_field, p_data -> v_field, CASE v_field
{% for f in m.enums %}
        WHEN {{ f.literal }} THEN {{ f.enum_list_literal }}
{% endfor %}
        END),
      HINT = 'Send one of the values, or add this one to the schema and push it.',
      COLUMN = v_field;
  END IF;
{% endif %}
{% if m.not_null %}

  v_field := CASE
{% for f in m.not_null %}
    WHEN p_data -> {{ f.literal }} = 'null' THEN {{ f.literal }}
{% endfor %}
    END;
  IF v_field IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '23502',
      MESSAGE = pg_catalog.format('%s.%s is required and cannot be null', {{ m.key_literal }}, v_field),
      HINT = 'Send a value.',
      COLUMN = v_field;
  END IF;
{% endif %}
END
$function$;
