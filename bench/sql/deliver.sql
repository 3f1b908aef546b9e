-- Direct writers whose own cost is as small as it can be: what is asked is how fast changes are delivered, not written.
-- Nobody waits for the flush of the log, and (but for one case) our triggers are off; every change is in the log all the same.
CREATE PROCEDURE bench.update_one_by_one(p_prefix text, p_count integer)
LANGUAGE plpgsql
AS $$
BEGIN
  FOR i IN 1..p_count LOOP
    UPDATE public.tasks
    SET title = p_prefix || lpad(i::text, 6, '0')
    WHERE organization_id = 'acme'
      AND id = (i % 1000 + 1)::text;
    COMMIT;
  END LOOP;
END
$$;

CREATE PROCEDURE bench.update_in_bulk(p_prefix text, p_count integer)
LANGUAGE plpgsql
AS $$
BEGIN
  FOR i IN 1..p_count / 1000 LOOP
    UPDATE public.tasks
    SET title = p_prefix || lpad(((i - 1) * 1000 + id::integer)::text, 6, '0')
    WHERE organization_id = 'acme'
      AND id::integer BETWEEN 1 AND 1000;
    COMMIT;
  END LOOP;
END
$$;
