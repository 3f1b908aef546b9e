-- This function has lost a parameter that it did not use: the file makes another one.
-- Nothing but pgsync calls it.
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS pgsync_private.check_reads(jsonb, jsonb, text, text, text[]);
