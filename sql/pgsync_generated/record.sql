-- Trigger, after every change of a row of {{ m.key }} by anybody: writes it to the change log, in the same transaction.
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
BEGIN
  -- Whoever commits with a premise on a whole group waits for the writers of the organization that are under way, and they for him.
  v_ignored := pg_catalog.pg_advisory_xact_lock_shared(pgsync_private.organization_lock(CASE WHEN TG_OP = 'DELETE' THEN {{ m.old_tenant }} ELSE {{ m.new_tenant }} END));
  IF TG_OP = 'UPDATE' THEN
    IF {{ m.key_unchanged }} THEN
      INSERT INTO pgsync_private.change (organization_id, model, row_id, op, fields, sync_groups{{ ", old_row, new_row" if m.kept }}, server_tx_id, actor_kind, actor_id, role_name)
      VALUES (
        {{ m.new_tenant }},
        '{{ m.name }}',
        {{ m.new_id }},
        'U',
        pg_catalog.array_remove(
          ARRAY[
{% for f in m.recorded %}
            CASE WHEN {{ f.changed }} THEN {{ f.literal }} END{{ "," if not loop.last }}
{% endfor %}
          ]::text[],
          NULL),
        {{ m.both_groups }},
{% if m.kept %}
        CASE WHEN {{ m.kept_changed }} THEN {{ m.kept_old }} END,
        {{ m.kept_new }},
{% endif %}
        v_commit,
        v_actor_kind,
        v_actor_id,
        v_role
      );
      RETURN NULL;
    END IF;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups{{ ", old_row" if m.kept }}, server_tx_id, actor_kind, actor_id, role_name)
    VALUES ({{ m.old_tenant }}, '{{ m.name }}', {{ m.old_id }}, 'D', {{ m.old_groups }}{{ ", " ~ m.kept_old if m.kept }}, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO pgsync_private.change (organization_id, model, row_id, op, sync_groups{{ ", new_row" if m.kept }}, server_tx_id, actor_kind, actor_id, role_name)
    VALUES ({{ m.new_tenant }}, '{{ m.name }}', {{ m.new_id }}, 'I', {{ m.new_groups }}{{ ", " ~ m.kept_new if m.kept }}, v_commit, v_actor_kind, v_actor_id, v_role);
  END IF;
  RETURN NULL;
END
$function$;
