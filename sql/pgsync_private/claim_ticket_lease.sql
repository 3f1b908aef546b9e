-- How long a place in line lasts without a heartbeat; and how long a turn waits to be taken up by its first one.
-- Clients beat about every second, so 15 seconds outlive a few lost requests and free the row soon from one who has gone.
CREATE OR REPLACE FUNCTION pgsync_private.claim_ticket_lease()
  RETURNS interval
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT INTERVAL '15 seconds';
$function$;

ALTER FUNCTION pgsync_private.claim_ticket_lease() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_ticket_lease() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_ticket_lease() TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_ticket_lease() IS 'How long a place in line lasts without a heartbeat.';
