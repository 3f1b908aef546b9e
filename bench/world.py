"""The database of a question: the pushed schema, a thousand rows, and the same table without pgsync beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg

from bench.schema import schema
from pgsync.push import push
from tests.credentials import create_credential
from tests.postgres import Database, Server

APPLICATION: Final = "bench_app"
ORGANIZATION: Final = "acme"
ROWS: Final = 1000
SQL: Final = Path(__file__).parent / "sql"


@contextlib.contextmanager
def prepared(server: Server) -> Iterator[Database]:
    """A database with the schema pushed and the rows in it, vacuumed and analyzed; dropped at the end."""
    database = server.create_database()
    try:
        push(database.dsn, schema)
        database.execute(f"CREATE ROLE {APPLICATION} LOGIN")
        database.execute((SQL / "prepare.sql").read_text())
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")
        yield database
    finally:
        database.drop()
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(f"DROP ROLE IF EXISTS {APPLICATION}")


def create_key(database: Database, *, organization: str = ORGANIZATION) -> str:
    """A secret key of an organization, that of the rows if none is named."""
    return create_credential(database, organization=organization, participant="bench")[0]
