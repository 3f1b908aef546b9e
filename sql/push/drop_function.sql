-- Nothing but pgsync calls it.
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS {{ function }};
