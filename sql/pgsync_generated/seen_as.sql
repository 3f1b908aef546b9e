-- How the caller, whose identity has been set, saw the row of a change, as the stream would have told him: B before it and after it, E before
-- or after it only (it left or entered), N neither, ? when that is not known any more. A change of a whole table is told to everybody: B.
-- p_by_grant: of a model that the caller has no grant to read, nothing is told: N.
CREATE OR REPLACE FUNCTION pgsync_generated.seen_as(p_change pgsync_private.change, p_by_grant boolean)
  RETURNS text
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_before boolean;
  v_after boolean;
BEGIN
{% for m in models %}
  IF p_change.model = '{{ m.name }}' THEN
    IF p_by_grant AND NOT pgsync.may_read({{ m.grant_literal }}) THEN
      RETURN 'N';
    ELSIF p_change.row_id = '' THEN
      RETURN 'B';
    END IF;
{% if m.is_kept %}
    IF p_change.old_row IS NULL AND p_change.new_row IS NULL THEN
      RETURN '?';
    END IF;
    v_after := CASE WHEN p_change.new_row IS NULL THEN false ELSE pgsync_generated.{{ m.name }}_saw(p_change.new_row) END;
    v_before := CASE
      WHEN p_change.old_row IS NOT NULL THEN pgsync_generated.{{ m.name }}_saw(p_change.old_row)
      WHEN p_change.op = 'U' THEN v_after
      ELSE false
    END;
    RETURN CASE
      WHEN v_before AND v_after THEN 'B'
      WHEN v_before OR v_after THEN 'E'
      WHEN v_before IS NULL OR v_after IS NULL THEN '?'
      ELSE 'N'
    END;
{% elif m.shared %}
    RETURN 'B';
{% else %}
    RETURN CASE
      WHEN p_change.organization_id = pgsync.organization_id() AND pgsync.holds_group('org:' || p_change.organization_id) THEN 'B'
      ELSE 'N'
    END;
{% endif %}
  END IF;
{% endfor %}
  RETURN 'N';
END
$function$;
