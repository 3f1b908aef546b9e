"""The servers that tests run on keep their promises."""

from __future__ import annotations

import subprocess

import psycopg
import pytest

from tests.postgres import Database, Server


def test_database_is_fresh_and_takes_logical_replication(database: Database) -> None:
    assert database.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
    with database.connect() as connection:
        slot = connection.execute(
            "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [database.name]
        ).fetchone()
    assert slot is not None


def test_dropping_a_database_takes_its_slots_and_sessions_along(server: Server) -> None:
    database = server.create_database()
    with database.connect() as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [database.name])
        database.drop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with psycopg.connect(server.dsn) as connection:
        left = connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [database.name]).fetchone()
    assert left is None


def test_a_role_connects_as_itself(database: Database) -> None:
    role = f"role_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with psycopg.connect(database.url_as(role)) as connection:
            assert connection.info.user == role
            assert connection.info.dbname == database.name
    finally:
        database.execute(f"DROP ROLE {role}")


def test_psql_takes_the_url_of_a_database(database: Database) -> None:
    said = subprocess.run(
        [database.server.program("psql"), database.url, "-XAtc", "SELECT current_database()"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == database.name
