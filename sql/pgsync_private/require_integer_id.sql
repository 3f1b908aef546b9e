-- Refuses a row id that is no integer of 32 or 64 bits.
-- Raises: PS106.
CREATE OR REPLACE FUNCTION pgsync_private.require_integer_id(p_id text, p_bits integer)
  RETURNS void
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_id !~ '^(0|-?[1-9][0-9]{0,18})$'
    OR p_id::numeric NOT BETWEEN -pg_catalog.pow(2::numeric, p_bits - 1) AND pg_catalog.pow(2::numeric, p_bits - 1) - 1
  THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS106',
      MESSAGE = pg_catalog.format('the id is not an integer of %s bits', p_bits),
      HINT = 'Ids of this model are whole numbers without leading zeros.',
      COLUMN = 'id';
  END IF;
END
$function$;

ALTER FUNCTION pgsync_private.require_integer_id(text, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.require_integer_id(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.require_integer_id(text, integer) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.require_integer_id(text, integer) IS 'Refuses a row id that is no integer of the given width.';
