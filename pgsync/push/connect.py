"""Makes an existing server ready for pgsync: roles, their passwords, who may push, and what only a restart changes.

The admin's connection string is used for this and kept nowhere; what is done is shown, or only shown.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote as percent

import psycopg
from psycopg.rows import class_row

from pgsync import sqlfiles
from pgsync.errors import PgsyncError
from pgsync.names import GATEWAY, LISTENER, literal, quote
from pgsync.push.step import Step

_PASSWORD_BYTES: Final = 24
_SUPERUSER_REMEDY: Final = "ALTER SYSTEM SET wal_level = 'logical' as a superuser, then restart the server"


@dataclass(frozen=True, slots=True)
class Server:
    """One row of `sql/connect/provider.sql`. `provider` is self for a server of one's own."""

    provider: str
    wal_level_remedy: str | None
    replication_role: str | None
    wal_level: str
    restart_is_pending: bool
    is_superuser: bool
    may_create_roles: bool
    may_create_in_database: bool


@dataclass(frozen=True, slots=True)
class Connected:
    """What was done, or would be.

    `remaining` is what a person has still to do, a restart among it. `gateway_url` and `listener_url` are new
    connection strings, None when no passwords were set; they are shown once.
    """

    server: Server
    steps: tuple[Step, ...]
    remaining: tuple[str, ...]
    gateway_url: str | None
    listener_url: str | None

    @property
    def sql(self) -> str:
        """All statements as `psql` runs them. A password's verifier stands where it is set."""
        return "\n".join(f"-- {step.title}\n{step.sql}" for step in self.steps)


def connect(
    conninfo: str, *, pusher: str | None = None, set_passwords: bool = True, dry_run: bool = False
) -> Connected:
    """Prepares the database of `conninfo`, in one transaction where the statements allow it.

    `pusher` is a role that is to push schemas from now on; without one only superusers can. `set_passwords`: give the
    gateway's two roles new passwords. Raises PgsyncError when the admin's role may not do this.
    """
    with psycopg.connect(
        conninfo, autocommit=True, application_name="pgsync connect", client_encoding="UTF8"
    ) as connection:
        with connection.cursor(row_factory=class_row(Server)) as cursor:
            server = cursor.execute(sqlfiles.read("connect/provider.sql").encode()).fetchone()
        assert server is not None
        if not (server.is_superuser or server.may_create_roles):
            raise PgsyncError(
                "migration_failed",
                f"role {connection.info.user} may not create roles",
                details={"hint": "connect as a superuser, or as a role with CREATEROLE"},
            )
        urls: dict[str, str] = {}
        steps = [*_steps(connection, server, pusher, set_passwords=set_passwords, urls=urls)]
        if not dry_run:
            with connection.transaction():
                for step in steps:
                    if step.sql.startswith("-- Needs a restart"):
                        continue
                    _run(connection, step)
            for step in steps:  # ALTER SYSTEM cannot be in a transaction
                if step.sql.startswith("-- Needs a restart"):
                    _run(connection, step)
        return Connected(
            server, tuple(steps), tuple(_remaining(server, dry_run=dry_run)), urls.get(GATEWAY), urls.get(LISTENER)
        )


def _run(connection: psycopg.Connection[Any], step: Step) -> None:
    try:
        connection.execute(step.sql.encode())
    except psycopg.Error as error:
        message = f"{step.title}: {error.diag.message_primary or error}"
        raise PgsyncError("migration_failed", message, details={"sqlstate": error.sqlstate}) from error


def _steps(
    connection: psycopg.Connection[Any],
    server: Server,
    pusher: str | None,
    *,
    set_passwords: bool,
    urls: dict[str, str],
) -> Iterator[Step]:
    info = connection.info
    yield Step("limits", sqlfiles.read("connect/limits.sql"))
    yield Step("roles", sqlfiles.read("roles.sql"))
    yield Step("connections", sqlfiles.read("connect/database.sql"))
    if server.replication_role is not None:
        role = quote(server.replication_role)
        yield Step("replication", sqlfiles.render("connect/replication_role.sql", role=role))
    if pusher is not None:
        given = {"role": quote(pusher), "database": quote(info.dbname)}
        yield Step(f"let {pusher} push", sqlfiles.render("connect/pusher.sql", **given))
    if set_passwords:
        for role in (GATEWAY, LISTENER):
            password = secrets.token_urlsafe(_PASSWORD_BYTES)
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            sql = sqlfiles.render("connect/login.sql", role=role, verifier=literal(verifier.decode()))
            yield Step(f"password of {role}", sql)
            urls[role] = f"postgresql://{role}:{password}@{_address(info)}/{percent(info.dbname)}"
    if server.wal_level != "logical" and server.provider == "self" and server.is_superuser:
        yield Step("wal_level", sqlfiles.read("connect/wal_level.sql"))


def _address(info: psycopg.ConnectionInfo) -> str:
    """`host:port`, or what a URL has for a socket's directory."""
    if info.host.startswith("/"):
        return f"{percent(info.host, safe='')}:{info.port}"
    return f"{f'[{info.host}]' if ':' in info.host else info.host}:{info.port}"


def _remaining(server: Server, *, dry_run: bool) -> Iterator[str]:
    if server.wal_level == "logical":
        return
    if server.wal_level_remedy is not None:
        yield f"wal_level is {server.wal_level}: {server.wal_level_remedy}"
    elif not server.is_superuser:
        yield f"wal_level is {server.wal_level}: {_SUPERUSER_REMEDY}"
    else:
        said = "will be logical" if dry_run else "is set to logical"
        yield f"wal_level {said} after a restart of the server; until then nothing streams"
