"""Databases with a schema pushed, copied from one that is made once per run, and callers of the write functions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import pytest

from pgsync import names
from pgsync.push import push
from tests.golden.cases import schema_of
from tests.postgres import Database, Server
from tests.sql.rich import BEFORE, SCHEMA

WAIT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the caller of a write learns when it fails: by rule a code, by the database an SQLSTATE."""

    code: str
    message: str | None
    detail: str | None = None
    field: str | None = None
    more: Any = None


@dataclass(slots=True)
class Caller:
    """A participant of an organization, writing and reading as a gateway does for it."""

    connection: psycopg.Connection[Any]
    organization: str = "acme"
    participant: str = "ada"
    groups: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        return json.dumps(
            {
                "organizationId": self.organization,
                "participantKind": "user",
                "participantId": self.participant,
                "syncGroups": [f"org:{self.organization}", f"user:{self.participant}", *self.groups],
                "operations": list(self.operations),
                "capabilityId": "cap_1",
                "onBehalfOf": None,
            }
        )

    def commit(self, *operations: dict[str, Any], key: str | None = None) -> Any:
        """The receipt of a commit, or why there is none."""
        request = json.dumps({"route": "commits", "operations": operations})
        return self._call("SELECT pgsync.commit_v1(%s, %s, %s)", self.identity, key or new_key(), request)

    def write(self, action: str, model: str, row_id: str | None, data: Any = None, *, key: str | None = None) -> Any:
        """The receipt of a single-row write, or why there is none. `data` may be JSON text."""
        text = data if isinstance(data, str) else json.dumps(data)
        body = "{}" if data is None else f'{{"data": {text}}}'
        statement = "SELECT pgsync.write_v1(%s, %s, %s, %s, %s, %s)"
        return self._call(statement, self.identity, key or new_key(), action, model, row_id, body)

    def create(self, model: str, row_id: str | None, data: Any = None, **more: Any) -> Any:
        return self.write("create", model, row_id, {} if data is None else data, **more)

    def update(self, model: str, row_id: str, data: Any, **more: Any) -> Any:
        return self.write("update", model, row_id, data, **more)

    def delete(self, model: str, row_id: str, **more: Any) -> Any:
        return self.write("delete", model, row_id, **more)

    def read(self, query: str, *parameters: Any) -> list[Any]:
        """Rows as the gateway sees them for this participant; one value per row where there is one column."""
        with self.connection.transaction():
            self.connection.execute("SELECT pgsync.set_identity_v1(%s)", [self.identity])
            rows = self.connection.execute(query, parameters or None).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def _call(self, statement: str, *parameters: Any) -> Any:
        try:
            row = self.connection.execute(statement, parameters).fetchone()
        except psycopg.Error as error:
            diag = error.diag
            return Refusal(str(error.sqlstate), diag.message_primary, diag.message_detail, diag.column_name)
        assert row is not None
        answer = row[0]
        if answer["outcome"] == "refused":
            found = dict(answer["error"])
            return Refusal(found.pop("code"), found.pop("message"), field=found.pop("param", None), more=found or None)
        return answer


@dataclass(slots=True)
class World:
    """A database with a schema pushed."""

    database: Database
    _open: list[psycopg.Connection[Any]] = field(default_factory=list)

    def connect(self, role: str | None = None, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection that is closed at the end of the test."""
        connection = self.database.connect(role, autocommit=autocommit)
        self._open.append(connection)
        return connection

    def caller(self, organization: str = "acme", participant: str = "ada", *groups: str, **more: Any) -> Caller:
        """A participant, with a gateway's connection."""
        return Caller(self.connect(names.GATEWAY), organization, participant, groups, **more)

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        """Runs SQL as a superuser; rows, one value per row where there is one column."""
        rows = self.database.execute(statement, parameters or None)
        return [row[0] if len(row) == 1 else row for row in rows]

    def close(self) -> None:
        for connection in self._open:
            connection.close()


def new_key() -> str:
    return secrets.token_hex(8)


def ok(answer: Any) -> Any:
    """The answer, which must be a receipt."""
    assert not isinstance(answer, Refusal), answer
    return answer


def refused(answer: Any) -> Refusal:
    """The answer, which must be a refusal."""
    assert isinstance(answer, Refusal), answer
    return answer


def _template(server: Server, name: str) -> Iterator[Database]:
    with server.lend() as database:
        push(database.dsn, schema_of(name))
        yield database


@pytest.fixture(scope="session")
def tasks_template(server: Server) -> Iterator[Database]:
    yield from _template(server, "tasks")


@pytest.fixture(scope="session")
def wide_template(server: Server) -> Iterator[Database]:
    yield from _template(server, "wide")


@pytest.fixture(scope="session")
def rich(server: Server) -> Iterator[Database]:
    """A database with the schema of tests/sql/rich.py, for tests that leave it as it is."""
    with server.lend() as database:
        database.execute(BEFORE)
        push(database.dsn, SCHEMA)
        yield database


def _copy(server: Server, template: Database) -> Iterator[World]:
    world = World(server.create_database(template=template.name))
    try:
        yield world
    finally:
        world.close()
        world.database.drop()


@pytest.fixture
def tasks(server: Server, tasks_template: Database) -> Iterator[World]:
    """A database of this test's own with the schema of examples/tasks."""
    yield from _copy(server, tasks_template)


@pytest.fixture
def wide(server: Server, wide_template: Database) -> Iterator[World]:
    """A database of this test's own with the schema of tests/golden/wide.py."""
    yield from _copy(server, wide_template)
