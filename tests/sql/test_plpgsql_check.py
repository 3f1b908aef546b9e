"""plpgsql_check, with every warning on, finds nothing in our functions. CI has it on PostgreSQL 15, from Debian."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg.rows import class_row

from tests.postgres import Database

CHECK = Path(__file__).with_name("plpgsql_check.sql").read_text(encoding="utf-8")
TRIGGER_FUNCTIONS = (
    "SELECT f.oid::regprocedure::text FROM pg_proc AS f WHERE f.prorettype = 'trigger'::regtype"
    " AND f.pronamespace::regnamespace::text ~ '^pgsync'"
    " AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = f.oid)"
)
FAULTY = """
CREATE FUNCTION pgsync_private.faulty(p_x text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  v_unused text;
  v_ignored text;
BEGIN
  v_ignored := pg_catalog.set_config('a.b', 'c', true);
  {statement}
  RETURN 1;
END $$
"""
FAULTS = {
    "DECLARE v_x text := p_x; BEGIN EXECUTE 'SELECT ' || v_x; END;": "SQL injection",
    "IF EXISTS (SELECT FROM pgsync_private.claim AS c WHERE c.no) THEN RETURN 2; END IF;": "c.no does not exist",
    "RETURN '2';": "does not have an assignment cast",
    "RETURN 2;": "unreachable",
    "": 'unused variable "v_unused"',
}


class Finding(NamedTuple):
    """One row of plpgsql_check.sql."""

    function: str
    relation: str | None
    level: str
    message: str
    line: str

    @property
    def is_of_our_idiom(self) -> bool:
        """What is assigned to `v_ignored` is not read and may be cast, on purpose: PERFORM goes through the executor.

        With it a commit of one row costs its backend 5 percent more time (20 microseconds of 350). A statement is built
        only from what the catalog says, and says so.
        """
        unread = self.message.startswith('never read variable "v_ignored"')
        as_an_insert = "SQL injection" in self.message and "-- the catalog's own text" in self.line
        if unread or as_an_insert:
            return True
        return self.line.startswith("v_ignored := ") and self.message.startswith("target type is different")


def findings(connection: psycopg.Connection[object]) -> list[Finding]:
    with connection.cursor(row_factory=class_row(Finding)) as cursor:
        return [found for found in cursor.execute(CHECK.encode()) if not found.is_of_our_idiom]


@pytest.fixture
def checked(rich: Database) -> bool:
    """Whether the server has the extension: Debian's has to; the embedded ones and the container come without."""
    has_it = bool(rich.execute("SELECT FROM pg_available_extensions WHERE name = 'plpgsql_check'"))
    assert has_it or not rich.server.name.startswith("debian"), "apt-get install postgresql-15-plpgsql-check"
    return has_it


def test_every_trigger_function_is_on_a_table_that_it_can_be_checked_with(rich: Database) -> None:
    assert rich.execute(TRIGGER_FUNCTIONS) == []


def test_plpgsql_check_finds_nothing(rich: Database, checked: bool) -> None:
    if not checked:
        return
    with rich.connect(autocommit=False) as connection:
        connection.execute("CREATE EXTENSION plpgsql_check")
        assert findings(connection) == []
        connection.rollback()


@pytest.mark.parametrize("statement", FAULTS)
def test_a_fault_is_found(rich: Database, checked: bool, statement: str) -> None:
    if not checked:
        return
    with rich.connect(autocommit=False) as connection:
        connection.execute("CREATE EXTENSION plpgsql_check")
        connection.execute(FAULTY.format(statement=statement).encode())
        found = findings(connection)
        connection.rollback()
    assert {f.function for f in found} == {"pgsync_private.faulty(text)"}
    assert any(FAULTS[statement] in f.message for f in found), found
