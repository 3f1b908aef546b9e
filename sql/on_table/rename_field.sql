-- Leases on field {{ before }} of model {{ key }} are on {{ now }} from now on, and what was read before is stale once.
SELECT pgsync_private.rename_field({{ model_literal }}, {{ before_literal }}, {{ now_literal }});
