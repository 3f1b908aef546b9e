-- Policies that let everybody in who has not said who he is (rls_policy_null_auth_disjunct).
SELECT
  p.polrelid::regclass::text AS object,
  p.polname::text AS finding
FROM pg_policy AS p
CROSS JOIN LATERAL (
  VALUES (pg_get_expr(p.polqual, p.polrelid)), (pg_get_expr(p.polwithcheck, p.polrelid))
) AS e(expression)
WHERE e.expression ~ '(\mpgsync\.\w+|\mcurrent_setting)\([^()]*\)( AS \w+)?\)* IS NULL';
