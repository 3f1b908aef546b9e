"""A whole pgsync on one machine: an embedded Postgres, a pushed schema, a gateway that restarts with them.

For development, demos and tests; nothing that runs in production imports it.
"""
