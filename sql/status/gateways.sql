-- Who is connected for pgsync: one row for each purpose, deployment and address. A gateway, or each of its workers, has one connection
-- `listener`; `stream` reads the slot; `relay` stands beside it where there are workers. Pools (`reads`, `writes`) do not say for which deployment.
-- For whoever sees the sessions of others (pg_read_all_stats).
SELECT
  s.words[1] AS purpose,
  pg_catalog.substr(s.words[2], 8) AS deployment,
  COALESCE(pg_catalog.host(s.client_addr), 'local') AS address,
  pg_catalog.count(*) AS connections,
  pg_catalog.min(s.backend_start) AS since
FROM (
  SELECT
    pg_catalog.regexp_match(a.application_name, '^pgsync (?:gateway )?(listener|stream|relay|reads|writes|notifications)(?: (.*))?$') AS words,
    a.client_addr,
    a.backend_start
  FROM pg_catalog.pg_stat_activity AS a
  WHERE a.datname = pg_catalog.current_database()
) AS s
WHERE s.words IS NOT NULL
GROUP BY 1, 2, 3
ORDER BY 2 NULLS LAST, 1, 3;
