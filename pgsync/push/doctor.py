"""What is wrong, or will be, with pgsync in a database: one finding per row of the queries in `sql/checks`.

Only reads. Every query is shown as it runs, so that whoever owns the database can run it herself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg.rows import class_row

from pgsync import sqlfiles
from pgsync.push.install import install_steps
from pgsync.push.introspect import read_installed

LEVELS: Final = ("notice", "warning", "error")
NOTIFY_SECONDS: Final = 5.0

# These need nothing of pgsync in the database.
_ANYWHERE: Final = frozenset({"checks/server_settings.sql"})


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` is notice, warning or error; `object` what it is about; `remedy` a statement or a deed."""

    level: str
    object: str
    finding: str
    remedy: str

    def as_json(self) -> dict[str, str]:
        """The members under their own names."""
        return asdict(self)


def worst(findings: list[Finding]) -> str | None:
    """The worst level among them; None when there are none."""
    return max((f.level for f in findings), key=LEVELS.index, default=None)


def examine(conninfo: str, *, listener_url: str | None = None) -> list[Finding]:
    """Everything that is found, the worst first.

    `conninfo` is a role's that may read our tables: the one that pushes, or a superuser. With `listener_url`, what the
    gateway connects as for the stream, its way to the server is tried too. Raises psycopg.Error.
    """
    with psycopg.connect(
        conninfo, autocommit=True, application_name="pgsync doctor", client_encoding="UTF8"
    ) as connection:
        found = [*_run_checks(connection)]
        if listener_url is not None:
            found += _try_listener(connection, listener_url)
    return sorted(found, key=lambda f: -LEVELS.index(f.level))


def _run_checks(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    connection.execute("SET search_path = pg_catalog, pg_temp")
    installed = read_installed(connection, as_pushed=True)
    with connection.cursor(row_factory=class_row(Finding)) as cursor:
        for path in sqlfiles.names("checks"):
            if installed.migrations or path in _ANYWHERE:
                # What this version brings is found missing below.
                with contextlib.suppress(psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
                    yield from cursor.execute(sqlfiles.read(path).encode()).fetchall()
    database = connection.info.dbname
    if not installed.migrations:
        yield Finding("error", database, "pgsync is not installed here", "pgsync push schema.py")
        return
    missing = [step.title for step in install_steps(installed)]
    if missing:
        what = f"{len(missing)} parts of pgsync are not those of this version, first: {missing[0]}"
        yield Finding("warning", database, what, "push the schema again, with the pgsync that the gateways run")


def _try_listener(admin: psycopg.Connection[Any], url: str) -> Iterator[Finding]:
    """Whether a notification arrives at the listener's connection, and whether it may read the log."""
    try:
        with psycopg.connect(url, autocommit=True, application_name="pgsync doctor") as listener:
            name = f"pgsync_doctor_{uuid4().hex}"
            listener.execute(f"LISTEN {name}")
            admin.execute("SELECT pg_catalog.pg_notify(%s, '')", [name])
            if not any(True for _ in listener.notifies(timeout=NOTIFY_SECONDS, stop_after=1)):
                yield Finding(
                    "error",
                    "listener",
                    "a notification does not arrive: a pooler that shares sessions is in the way, or another server",
                    "give the listener a direct connection string (session pooling is enough for the gateway's own)",
                )
    except psycopg.OperationalError as error:
        yield Finding(
            "error", "listener", f"cannot connect: {error}".strip(), "see role pgsync_listener and pg_hba.conf"
        )
        return
    try:
        with psycopg.connect(psycopg.conninfo.make_conninfo(url, replication="database"), autocommit=True) as walsender:
            walsender.pgconn.exec_(b"IDENTIFY_SYSTEM")
    except psycopg.OperationalError as error:
        what = f"cannot open a replication connection: {error}".strip()
        yield Finding("error", "listener", what, "ALTER ROLE pgsync_listener REPLICATION; allow it in pg_hba.conf")
