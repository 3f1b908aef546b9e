\set k random(1, 1000)
\set v random(1, 1000000)
UPDATE bench.bare_task SET title = 'title ' || (:v)::bigint, updated_at = now() WHERE organization_id = 'acme' AND id = (:k)::bigint::text;
