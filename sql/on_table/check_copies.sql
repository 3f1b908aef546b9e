-- Whether every value of {{ c.source }} has one of type {{ c.type }}.
DO $copied$
DECLARE
  v_rows text;
  v_count bigint;
BEGIN
  SELECT
    pg_catalog.count(*),
    pg_catalog.string_agg(r.id, ', ') FILTER (WHERE r.n <= 5)
  INTO v_count, v_rows
  FROM (
    SELECT
      t.{{ id }}::text AS id,
      pg_catalog.row_number() OVER (ORDER BY t.{{ id }}) AS n
    FROM {{ table }} AS t
    WHERE {{ c.condition }}
  ) AS r;
  IF v_count > 0 THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS202',
      MESSAGE = pg_catalog.format('%s rows have a value that is no {{ c.type }}, among them %s', v_count, v_rows),
      HINT = 'Change them, or say --backfill, and push again; to give it up, push the schema with the type of before.';
  END IF;
END
$copied$;
