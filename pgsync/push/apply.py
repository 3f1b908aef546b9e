"""Runs a plan: one transaction, together with the activation of the version, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from pgsync import sqlfiles
from pgsync.errors import PgsyncError
from pgsync.names import literal
from pgsync.push.install import install_steps
from pgsync.push.introspect import read_installed, read_tables
from pgsync.push.plan import Plan, make_plan
from pgsync.schema import Schema


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did, or would do. `version` and `hash` are those of the active schema afterwards."""

    plan: Plan
    version: int
    hash: str
    dry_run: bool

    @property
    def changed(self) -> bool:
        """Whether there was anything to do."""
        return bool(self.plan.steps)

    def __str__(self) -> str:
        if self.dry_run:
            return self.plan.sql if self.changed else "-- nothing to do: the database is in sync"
        if not self.changed:
            return f"unchanged: version {self.version}, hash {self.hash}"
        return (
            f"pushed version {self.version}, hash {self.hash}, {self.plan.models} models, {len(self.plan.steps)} steps"
        )


def push(
    conninfo: str,
    schema: Schema,
    *,
    migrate: bool = True,
    force: bool = False,
    dry_run: bool = False,
    lock_timeout_seconds: float = 5,
    statement_timeout_seconds: float = 300,
) -> PushResult:
    """Installs pgsync where it is missing and makes `schema` the active version.

    `migrate`: also create missing tables, and columns of tables that a push created. `force`: allow to drop models and
    fields from the schema (tables and columns stay). Raises PushError, and PgsyncError for what the database refuses;
    either way the database is as it was.
    """
    begin = _begin(lock_timeout_seconds, statement_timeout_seconds)
    with _transaction(conninfo, begin) as connection:
        installed = read_installed(connection)
        tables = read_tables(connection, [*schema.resolved.models, *installed.models])
        plan = make_plan(schema.resolved, installed, tables, migrate=migrate, force=force, begin=begin)
        if dry_run or not plan.steps:
            return PushResult(plan, installed.version, installed.hash, dry_run)
        _run(connection, plan)
        after = read_installed(connection)
        return PushResult(plan, after.version, after.hash, dry_run)


def install(conninfo: str, *, lock_timeout_seconds: float = 5, statement_timeout_seconds: float = 300) -> None:
    """Installs or updates the runtime of pgsync, without a schema."""
    with _transaction(conninfo, _begin(lock_timeout_seconds, statement_timeout_seconds)) as connection:
        steps = tuple(install_steps(read_installed(connection)))
        _run(connection, Plan(steps=steps, document_hash="", models=0))


@contextmanager
def _transaction(conninfo: str, begin: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(conninfo, application_name="pgsync push") as connection:
        try:
            connection.execute(begin.encode())
        except psycopg.errors.LockNotAvailable as error:
            message = "another push is running in this database: try again when it has ended"
            raise PgsyncError("migration_failed", message, details={"sqlstate": error.sqlstate}) from error
        yield connection


def _begin(lock_timeout_seconds: float, statement_timeout_seconds: float) -> str:
    def milliseconds(seconds: float) -> str:
        return literal(f"{seconds * 1000:.0f}ms")

    return sqlfiles.render(
        "push/begin.sql",
        lock_timeout=milliseconds(lock_timeout_seconds),
        statement_timeout=milliseconds(statement_timeout_seconds),
    )


def _run(connection: psycopg.Connection[Any], plan: Plan) -> None:
    for step in plan.steps:
        try:
            # No parameters: the text runs as it is printed by a dry run, several statements at a time.
            connection.execute(step.sql.encode())
        except psycopg.Error as error:
            raise _explain(step.title, step.lock, error) from error


def _explain(title: str, lock: str, error: psycopg.Error) -> PgsyncError:
    message = f"{title}: {error.diag.message_primary or error}"
    if isinstance(error, psycopg.errors.LockNotAvailable):
        message += f"; somebody held a lock on the table (the step needs {lock}): try again when it is quiet"
    elif isinstance(error, psycopg.errors.IntegrityError):
        message += "; some rows do not fit: give a new field a default, make it optional, or change the rows"
        return PgsyncError("incompatible_change", message, details={"step": title, "sqlstate": error.sqlstate})
    elif isinstance(error, psycopg.errors.InsufficientPrivilege):
        message += "; push as the owner of the tables with the right to create roles, or as a superuser"
    return PgsyncError("migration_failed", message, details={"step": title, "sqlstate": error.sqlstate})
