-- Memberships are found without their rows' last writer, which nobody asked for. The push makes the function anew.

DROP FUNCTION IF EXISTS pgsync_generated.edges(text, text);
