"""Runs a plan: one transaction, together with the activation of the version, or nothing at all.

What may take long comes before or after it, each step alone: what was interrupted there is done by the next push.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from pgsync import sqlfiles
from pgsync.errors import PgsyncError
from pgsync.push.alter import Ask
from pgsync.push.install import install_steps
from pgsync.push.introspect import Installed, read_installed, read_tables
from pgsync.push.limits import Limits
from pgsync.push.plan import LOCKS, Plan, make_migration, make_plan, strongest
from pgsync.push.step import STRENGTH, Stage, Step
from pgsync.push.wishes import ModelRename, Wishes
from pgsync.schema import Schema

_LONGEST_PAUSE_SECONDS = 5.0


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
        steps = f"{len(self.plan.steps)} steps"
        if self.plan.name == "migrate":
            return f"migrated the tables of {self.plan.models} models, {steps}"
        return f"pushed version {self.version}, hash {self.hash}, {self.plan.models} models, {steps}"


def push(
    conninfo: str,
    schema: Schema,
    *,
    migrate: bool = True,
    force: bool = False,
    wishes: Wishes | None = None,
    dry_run: bool = False,
    limits: Limits | None = None,
) -> PushResult:
    """Installs pgsync where it is missing and makes `schema` the active version.

    `migrate`: also make missing tables, and alter those that pgsync made. `force`: whatever breaks clients may happen
    (tables, columns and rows stay). `wishes` in place of both says more. Raises PushError, and PgsyncError for what the
    database refuses: then the version before is active as it was. The steps after the transaction may still fail;
    the next push does what they left.
    """
    asked = wishes or Wishes(migrate=migrate, force=force)
    return _run(conninfo, schema, asked, limits or Limits(), make_plan, dry_run=dry_run)


def migrate(
    conninfo: str, schema: Schema, *, wishes: Wishes | None = None, dry_run: bool = False, limits: Limits | None = None
) -> PushResult:
    """Makes and alters the tables of `schema`, and nothing else. Raises as `push` does."""
    return _run(conninfo, schema, wishes or Wishes(), limits or Limits(), make_migration, dry_run=dry_run)


def install(conninfo: str, *, limits: Limits | None = None) -> None:
    """Installs or updates the runtime of pgsync, without a schema."""
    limits = limits or Limits()
    with _session(conninfo, limits) as connection:
        steps = tuple(replace(s, stage=Stage.RUNTIME) for s in install_steps(read_installed(connection)))
        _apply(connection, Plan(steps, "", 0, limits.begin, limits.session), limits)


def _run(
    conninfo: str,
    schema: Schema,
    wishes: Wishes,
    limits: Limits,
    make: Callable[..., Plan],
    *,
    dry_run: bool,
) -> PushResult:
    with _session(conninfo, limits) as connection:
        plan, installed = _plan(connection, schema, wishes, limits, make)
        if dry_run or not plan.steps:
            return PushResult(plan, installed.version, installed.hash, dry_run)
        _apply(connection, plan, limits)
        left, after = _plan(
            connection,
            schema,
            replace(wishes, force=True, renames=tuple(r for r in wishes.renames if isinstance(r, ModelRename))),
            limits,
            make,
            as_pushed=True,
        )
        if left.steps:
            titles = "; ".join(step.title for step in left.steps)
            message = f"this is left to do after the {plan.name}, because somebody changed it meanwhile: {titles}"
            raise PgsyncError("migration_failed", message, details={"hint": "run it again"})
        return PushResult(plan, after.version, after.hash, dry_run)


def _plan(
    connection: psycopg.Connection[Any],
    schema: Schema,
    wishes: Wishes,
    limits: Limits,
    make: Callable[..., Plan],
    *,
    as_pushed: bool = False,
) -> tuple[Plan, Installed]:
    """The plan, and what it starts from. `as_pushed`: what was changed by hand is not looked for."""
    installed = read_installed(connection, as_pushed=as_pushed)
    tables = read_tables(connection, [*schema.resolved.models, *installed.models])
    ask = _asker(connection)
    return (
        make(schema.resolved, installed, tables, wishes, ask, limits=limits),
        installed,
    )


def _asker(connection: psycopg.Connection[Any]) -> Ask:
    def ask(query: str) -> Any:
        try:
            row = connection.execute(query.encode()).fetchone()
        except psycopg.errors.LockNotAvailable as error:
            message = "somebody keeps everybody from reading a table of the schema: try again when it is quiet"
            raise PgsyncError("migration_failed", message, details={"sqlstate": error.sqlstate}) from error
        return row[0] if row else None

    return ask


@contextmanager
def _session(conninfo: str, limits: Limits) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the only push of this database."""
    with psycopg.connect(
        conninfo, application_name="pgsync push", autocommit=True, client_encoding="UTF8"
    ) as connection:
        connection.execute(limits.session.encode())
        lock = sqlfiles.read("push/try_lock.sql").encode()
        deadline = time.monotonic() + limits.patience_seconds
        while (row := connection.execute(lock).fetchone()) is None or not row[0]:
            if time.monotonic() >= deadline:
                message = "another push is running in this database: try again when it has ended"
                raise PgsyncError("migration_failed", message, details={"sqlstate": "55P03"})
            time.sleep(0.05)
        yield connection


def _apply(connection: psycopg.Connection[Any], plan: Plan, limits: Limits) -> None:
    for stage in Stage:
        steps = plan.of(stage)
        if not steps:
            continue
        if stage in (Stage.RUNTIME, Stage.TRANSACTION):
            _together(connection, plan, steps, limits)
        else:
            for step in steps:
                _alone(connection, step, limits)


def _together(connection: psycopg.Connection[Any], plan: Plan, steps: Sequence[Step], limits: Limits) -> None:
    """Steps in one transaction, which begins again while somebody is in its way, except for the wait for the tables."""
    for last in _tries(limits):
        try:
            with connection.transaction():
                connection.execute(plan.begin.encode())
                for step in steps:
                    if step.title == LOCKS:
                        _wait_for_tables(connection, steps, step, limits)
                    else:
                        _execute(connection, step)
        except _BusyError as error:
            if last:
                raise _explain(error.step, error.cause) from error.cause
        else:
            return


class _BusyError(Exception):
    """Somebody was in the way of a step of the transaction."""

    def __init__(self, step: Step, cause: psycopg.Error) -> None:
        super().__init__(step.title)
        self.step = step
        self.cause = cause


def _execute(connection: psycopg.Connection[Any], step: Step) -> None:
    try:
        # No parameters: the text runs as it is printed by a dry run, several statements at a time.
        connection.execute(step.sql.encode())
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise _BusyError(step, error) from error
    except psycopg.Error as error:
        raise _explain(step, error) from error


def _alone(connection: psycopg.Connection[Any], step: Step, limits: Limits) -> None:
    """A step outside of the transaction, again and again while somebody is in its way."""
    connection.execute((limits.patience if step.waits else limits.session).encode())
    for last in _tries(limits):
        try:
            connection.execute(step.sql.encode())
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            connection.rollback()  # of a step that is a transaction of its own
            if last:
                raise _explain(step, error) from error
        except psycopg.Error as error:
            if not connection.closed:
                connection.rollback()
            raise _explain(step, error) from error
        else:
            return


def _wait_for_tables(connection: psycopg.Connection[Any], steps: Sequence[Step], step: Step, limits: Limits) -> None:
    """Takes all locks of the transaction. It waits only while it holds none of them, so it is in no deadlock and
    nobody waits for us while we wait for somebody else's table. Between tries it holds nothing.
    """
    modes = {table: mode for table, mode in strongest(steps).items() if table in step.tables}
    order = sorted(modes, key=lambda table: (-STRENGTH.index(modes[table]), table))
    for last in _tries(limits):
        for table in order:
            statement = sqlfiles.render("push/lock.sql", table=table, mode=modes[table], nowait=table != order[0])
            try:
                if table == order[0]:
                    connection.execute(b"SAVEPOINT locks")
                connection.execute(statement.encode())
            except psycopg.errors.LockNotAvailable as error:
                connection.execute(b"ROLLBACK TO SAVEPOINT locks")
                if last:
                    raise _explain(replace(step, tables=(table,)), error) from error
                order.remove(table)
                order.insert(0, table)
                break
            except psycopg.Error as error:
                raise _explain(step, error) from error
        else:
            connection.execute(b"RELEASE SAVEPOINT locks")
            return


def _tries(limits: Limits) -> Iterator[bool]:
    """One turn for each try, with growing pauses between them; true when it is the last."""
    deadline = time.monotonic() + limits.patience_seconds
    pause = limits.lock_timeout_seconds / 2
    while True:
        last = time.monotonic() >= deadline
        yield last
        if last:
            return
        time.sleep(pause * random.uniform(0.5, 1))  # not in step with whoever is in the way
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _explain(step: Step, error: psycopg.Error) -> PgsyncError:
    message = f"{step.title}: {error.diag.message_primary or error}"
    if isinstance(error, psycopg.errors.LockNotAvailable):
        on = ", ".join(step.tables) or "the table"
        message += f"; somebody held a lock on {on} (the step needs {step.lock}): try again when it is quiet"
    elif isinstance(error, psycopg.errors.IntegrityError):
        message += "; some rows do not fit: give a new field a default, make it optional, or change the rows"
        return PgsyncError("incompatible_change", message, details={"step": step.title, "sqlstate": error.sqlstate})
    elif isinstance(error, psycopg.errors.InsufficientPrivilege):
        message += "; push as the owner of the tables with the right to create roles, or as a superuser"
    elif isinstance(error, psycopg.errors.RaiseException):
        message += "; a trigger or event trigger of this database refuses it: disable it for the moment, and push again"
    elif error.sqlstate == "PS202":
        details = {"step": step.title, "sqlstate": error.sqlstate, "hint": error.diag.message_hint}
        return PgsyncError("incompatible_change", message, details=details)
    return PgsyncError("migration_failed", message, details={"step": step.title, "sqlstate": error.sqlstate})
