    -- No such row, or a trigger or rule keeps it from being written: once it is locked, a second attempt tells which. What triggers were given
    -- is over: names below are ours again.
    v_ignored := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF v_is_locked OR NOT pgsync_generated.{{ m.name }}_lock(p_id, true) THEN
      RETURN pgsync_private.unwritten({{ m.identity_literal }}, '{{ action }}', '{{ m.name }}', p_id, v_is_locked);
    END IF;
    v_is_locked := true;
