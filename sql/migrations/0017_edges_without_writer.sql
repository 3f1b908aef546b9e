-- Memberships are found without their rows' last writer, which nobody asked for. The push makes the function anew.
-- Nothing but pgsync calls it.
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS pgsync_generated.edges(text, text);
