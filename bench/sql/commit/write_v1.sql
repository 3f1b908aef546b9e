\set k random(1, 1000)
\set v random(1, 1000000)
SELECT pgsync.write_v1(bench.identity(), gen_random_uuid()::text, 'update', 'tasks', (:k)::bigint::text, bench.body((:v)::bigint));
