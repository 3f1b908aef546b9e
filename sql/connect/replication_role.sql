-- What stands for REPLICATION at this provider.
GRANT {{ role }} TO pgsync_listener;
