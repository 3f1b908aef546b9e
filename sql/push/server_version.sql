-- The server's version as a number: 150004 is 15.4.
SELECT pg_catalog.current_setting('server_version_num');
