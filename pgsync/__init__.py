"""pgsync: safe, live, multi-writer rows in your own Postgres."""
