-- What the questions need beside the pushed schema: rows, a table that pgsync knows nothing of, and helpers for the load.
-- bench_app is the application's own role: it writes both tables directly.
INSERT INTO public.tasks (organization_id, id, title, status, priority, created_by)
SELECT
  'acme',
  n.n::text,
  'task number ' || n.n,
  'todo',
  n.n % 10,
  'bench'
FROM generate_series(1, 1000) AS n(n);

CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO PUBLIC;

-- The same columns, defaults, constraints and indexes; no triggers, no policies, not published.
CREATE TABLE bench.bare_task (LIKE public.tasks INCLUDING ALL);
INSERT INTO bench.bare_task SELECT * FROM public.tasks;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.tasks, bench.bare_task TO bench_app;

-- Whose commits these are. A function, because pgbench takes a colon in a prepared statement's literal for a variable.
CREATE FUNCTION bench.identity()
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  RETURN '{
    "organizationId": "acme", "participantKind": "system", "participantId": "bench", "capabilityId": "bench",
    "operations": [], "syncGroups": ["org:acme", "system:bench"]
  }'::jsonb;

-- The body of the HTTP route that changes a title.
CREATE FUNCTION bench.body(p_title bigint)
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  RETURN jsonb_build_object('data', jsonb_build_object('title', 'title ' || p_title));

-- The request of the HTTP route that commits several operations; here with one.
CREATE FUNCTION bench.request(p_id bigint, p_title bigint)
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  RETURN jsonb_build_object('route', 'commits', 'operations', jsonb_build_array(bench.body(p_title)
    || jsonb_build_object('action', 'update', 'model', 'tasks', 'id', p_id::text)));

-- Independent commits on random rows, for one call.
CREATE FUNCTION bench.batch(p_count integer)
  RETURNS jsonb
  LANGUAGE sql
  VOLATILE
  RETURN (
    SELECT jsonb_agg(jsonb_build_object(
      'identity', bench.identity(),
      'key', gen_random_uuid()::text,
      'action', 'update',
      'model', 'tasks',
      'id', (1 + floor(random() * 1000))::bigint::text,
      'body', bench.body(n.n)))
    FROM generate_series(1, p_count) AS n(n)
  );

-- Updates rows of the synced table by plain SQL: p_transactions times p_rows.
CREATE PROCEDURE bench.write_transactions(p_transactions integer, p_rows integer)
  LANGUAGE plpgsql
AS $procedure$
BEGIN
  FOR i IN 1..p_transactions LOOP
    UPDATE public.tasks AS t
    SET title = 'title ' || i, updated_at = clock_timestamp()
    WHERE t.organization_id = 'acme'
      AND t.id = ANY (SELECT (1 + (i + n.n) % 1000)::text FROM generate_series(1, p_rows) AS n(n));
    COMMIT;
  END LOOP;
END
$procedure$;
