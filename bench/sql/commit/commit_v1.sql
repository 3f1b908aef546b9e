\set k random(1, 1000)
\set v random(1, 1000000)
SELECT pgsync.commit_v1(bench.identity(), gen_random_uuid()::text, bench.request((:k)::bigint, (:v)::bigint));
