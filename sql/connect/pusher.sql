-- Lets {{ role }} push schemas: it makes what pgsync_owner and pgsync_writer are to own, and our namespaces in this database.
GRANT pgsync_owner, pgsync_writer TO {{ role }};
GRANT CREATE ON DATABASE {{ database }} TO {{ role }};
