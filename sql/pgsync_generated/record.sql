-- Trigger, after every change of a row of {{ m.key }} by anybody: writes it to the change log, in the same transaction.
-- Made for the columns {{ m.columns }}.
-- When somebody has dropped, renamed or retyped one of them by hand, his writes go on: fields that cannot be compared any more count as changed,
-- and where nobody can say which row it was or whose, all rows count as changed. Other errors do not occur in the guarded block, which writes
-- nothing and so costs no transaction id.
-- SECURITY DEFINER: any role may write the table, only we write the change log.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_record()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
{% if m.kept_floats %}
  SET extra_float_digits = '1' -- what is kept is judged later, so no digit may be lost
{% endif %}
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_commit text := pgsync_private.current_commit();
  v_actor_kind text := CASE WHEN v_commit IS NOT NULL THEN pg_catalog.current_setting('pgsync.participant_kind', true) END;
  v_actor_id text := CASE WHEN v_commit IS NOT NULL THEN pg_catalog.current_setting('pgsync.participant_id', true) END;
  v_role text := pgsync_private.role_name();
  v_is_same boolean := false;
  v_fields text[];
  v_old_id text;
  v_old_tenant text;
  v_old_groups text[];
  v_new_id text;
  v_new_tenant text;
  v_new_groups text[];
{% if m.kept %}
  v_old_row jsonb;
  v_new_row jsonb;
{% endif %}
  v_old jsonb;
  v_new jsonb;
BEGIN
  BEGIN
    IF TG_OP = 'UPDATE' THEN
      IF {{ m.key_unchanged }} THEN
        v_is_same := true;
        v_fields := pg_catalog.array_remove(
          ARRAY[
{% for f in m.recorded %}
            CASE WHEN {{ f.changed }} THEN {{ f.literal }} END{{ "," if not loop.last }}
{% endfor %}
          ]::text[],
          NULL);
{% if m.groups %}
        v_new_groups := {{ m.both_groups }};
{% endif %}
{% if m.kept %}
        v_old_row := CASE WHEN {{ m.kept_changed }} THEN {{ m.kept_old }} END;
        v_new_row := {{ m.kept_new }};
{% endif %}
        v_new_tenant := {{ m.new_tenant }};
        v_new_id := {{ m.new_id }};
      END IF;
    END IF;
    IF NOT v_is_same AND TG_OP <> 'INSERT' THEN
      v_old_id := {{ m.old_id }};
      v_old_tenant := {{ m.old_tenant }};
{% if m.groups %}
      v_old_groups := {{ m.old_groups }};
{% endif %}
{% if m.kept %}
      v_old_row := {{ m.kept_old }};
{% endif %}
    END IF;
    IF NOT v_is_same AND TG_OP <> 'DELETE' THEN
      v_new_id := {{ m.new_id }};
      v_new_tenant := {{ m.new_tenant }};
{% if m.groups %}
      v_new_groups := {{ m.new_groups }};
{% endif %}
{% if m.kept %}
      v_new_row := {{ m.kept_new }};
{% endif %}
    END IF;
  EXCEPTION WHEN syntax_error_or_access_rule_violation THEN -- no such column, or not of the type that this session has met it with
    v_old := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
    v_new := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
    IF NOT COALESCE(v_new, v_old) ?& {{ m.needed_columns }} THEN
      INSERT INTO pgsync_private.change (model, row_id, op, server_tx_id, role_name)
      VALUES ('{{ m.name }}', '', 'T', v_commit, v_role);
      RETURN NULL;
    END IF;
    v_old_id := v_old ->> {{ m.id_literal }};
    v_new_id := v_new ->> {{ m.id_literal }};
{% if m.kept %}
    v_old_row := NULL; -- who saw it is not known
    v_new_row := NULL;
{% endif %}
{% if m.tenant_literal %}
    v_old_tenant := v_old ->> {{ m.tenant_literal }};
    v_new_tenant := v_new ->> {{ m.tenant_literal }};
{% endif %}
    v_is_same := COALESCE((v_new_tenant, v_new_id) IS NOT DISTINCT FROM (v_old_tenant, v_old_id), false);
    IF v_is_same THEN
      v_fields := pgsync_private.changed_fields(v_old, v_new, {{ m.recorded_literal }});
    END IF;
{% if m.groups %}
    v_old_groups := pg_catalog.array_remove(ARRAY[{% for g in m.groups %}{{ g.kind }} || (v_old ->> {{ g.column }}){{ ", " if not loop.last }}{% endfor %}], NULL);
    v_new_groups := pg_catalog.array_remove(ARRAY[{% for g in m.groups %}{{ g.kind }} || (v_new ->> {{ g.column }}){{ ", " if not loop.last }}{% endfor %}], NULL);
    IF v_is_same THEN
      v_new_groups := v_new_groups || v_old_groups;
    END IF;
{% endif %}
  END;

  -- Whoever commits with a premise on a whole group waits for the writers of the organization that are under way, and they for him.
  v_ignored := pg_catalog.pg_advisory_xact_lock_shared(
    pgsync_private.organization_lock(CASE WHEN TG_OP = 'DELETE' THEN v_old_tenant ELSE v_new_tenant END));
  IF v_is_same THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, fields, sync_groups{{ ", old_row, new_row" if m.kept }}, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_new_tenant, '{{ m.name }}', v_new_id, 'U', v_fields, v_new_groups{{ ", v_old_row, v_new_row" if m.kept }}, v_commit, v_actor_kind, v_actor_id, v_role);
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups{{ ", old_row" if m.kept }}, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_old_tenant, '{{ m.name }}', v_old_id, 'D', v_old_groups{{ ", v_old_row" if m.kept }}, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups{{ ", new_row" if m.kept }}, server_tx_id, actor_kind, actor_id, role_name)
    VALUES (v_new_tenant, '{{ m.name }}', v_new_id, 'I', v_new_groups{{ ", v_new_row" if m.kept }}, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  RETURN NULL;
END
$function$;
