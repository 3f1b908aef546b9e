-- Policies that ask for each row what is the same for all rows of a query: who is asking. In a subquery it is asked once (auth_rls_initplan).
-- Subqueries are cut out, with parentheses four deep; what is left must not call for the session.
SELECT
  p.polrelid::regclass::text AS object,
  p.polname::text AS finding
FROM pg_policy AS p
CROSS JOIN LATERAL (
  VALUES (pg_get_expr(p.polqual, p.polrelid)), (pg_get_expr(p.polwithcheck, p.polrelid))
) AS e(expression)
WHERE regexp_replace(
  e.expression,
  '\( SELECT (?:[^()]|\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\))*\)',
  '',
  'g') ~ '(\mpgsync\.\w+|\mcurrent_setting)\(';
