-- Finds the rows of {{ key }} whose {{ c.source }} has not been copied, so that the last look, under a lock, reads nothing else.
-- IF NOT EXISTS would take one for it that an interrupted run has left invalid.
-- squawk-ignore prefer-robust-stmts
CREATE INDEX CONCURRENTLY {{ index }} ON {{ table }} ({{ id }}) WHERE {{ c.source }} IS NOT NULL AND {{ c.beside }} IS NULL;
