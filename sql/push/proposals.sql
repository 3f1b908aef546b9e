-- Schemas that came over HTTP and wait for a push, newest first.
SELECT
  p.hash,
  p.document,
  p.options,
  p.proposed_at,
  p.proposed_by
FROM pgsync_private.schema_proposal AS p
ORDER BY p.proposed_at DESC, p.hash;
