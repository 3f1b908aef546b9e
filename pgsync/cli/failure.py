"""How a command tells that it failed: the code, what is wrong, what to do about it.

An error that is not expected here is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from typing import Final

import click
import psycopg

from pgsync.config import ConfigError
from pgsync.errors import PgsyncError, code_of_sqlstate

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_IN_SYNC: Final = 3
EXIT_UNREACHABLE: Final = 6
EXIT_INTERRUPTED: Final = 130

_CHECK_CONNECTION: Final = "check that the server runs and that the connection string is right"
NEEDS_RIGHTS: Final = (
    "connect as a superuser, or as the role that pushes;"
    " `pgsync connect --pusher ROLE`, run by a superuser, lets another one push"
)
"""What to do when Postgres says that the role may not do this."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is printed on standard error. `code` is one of the contract's, or a word of the command line's own."""

    code: str
    message: str
    remedy: str | None = None
    exit_code: int = EXIT_REFUSED

    def show(self) -> None:
        """Prints it; colours only on a terminal."""
        click.echo(f"{click.style('error', fg='red', bold=True)} {click.style(self.code, bold=True)}", err=True)
        for line in self.message.splitlines():
            click.echo(f"  {line}", err=True)
        if self.remedy:
            click.echo(f"  {click.style('do', bold=True)}: {self.remedy}", err=True)


def explain(error: Exception) -> Failure | None:
    """The failure that an exception means to the person at the terminal; None for what nobody expected.

    Classes of modules that this command has not loaded cannot have been raised and are not loaded for the question.
    """
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if (loaded := sys.modules.get("pgsync.schema.problem")) is not None:
        if isinstance(error, loaded.SchemaError):
            return Failure(error.code, str(error), "correct the schema and run the command again")
        if isinstance(error, loaded.SchemaLoadError):
            return Failure("invalid_schema", error.message, error.remedy)
    if (loaded := sys.modules.get("pgsync.gateway.database")) is not None:
        if isinstance(error, loaded.UnsafeRoleError):
            return Failure("database_role_cannot_enforce_rls", *_split(error, ": "))
        if isinstance(error, loaded.DatabaseUnavailableError):
            return Failure("connected_database_unreachable", str(error), _CHECK_CONNECTION, EXIT_UNREACHABLE)
    if (loaded := sys.modules.get("pgsync.stream.connect")) is not None and isinstance(error, loaded.ReplicationError):
        return Failure("database_not_replication_ready", str(error), error.hint or None)
    if (loaded := sys.modules.get("pgsync.dev.embedded")) is not None and isinstance(
        error, loaded.EmbeddedPostgresError
    ):
        return Failure("embedded_postgres", *_split(error, ": "))
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx is not None else "pgsync"
            return Failure("usage", error.format_message(), f"see `{command} --help`", EXIT_USAGE)
        case click.ClickException():
            return Failure("usage", error.format_message(), None, EXIT_USAGE)
        case ConfigError():
            return Failure("configuration", *_split(error, "; "), exit_code=EXIT_USAGE)
        case PgsyncError():
            remedy = error.details.get("hint")
            return Failure(error.code, str(error), str(remedy) if remedy else None)
        case psycopg.Error():
            return _of_database(error)
        case OSError(errno=errno.EADDRINUSE):
            return Failure("configuration", "the port is in use", "choose another with --port, or 0 for a free one")
        case _:
            return None


def _split(error: Exception, mark: str) -> tuple[str, str | None]:
    """What is wrong and what to do, which the messages of these errors hold in this order."""
    what, _, remedy = str(error).partition(mark)
    return what, remedy or None


def _of_database(error: psycopg.Error) -> Failure:
    message = error.diag.message_primary or str(error).strip()
    if error.sqlstate is None or error.sqlstate.startswith(("08", "28", "57P", "3D")):
        return Failure(
            "connected_database_unreachable",
            message,
            _CHECK_CONNECTION,
            EXIT_UNREACHABLE,
        )
    detail = "\n".join(part for part in (message, error.diag.message_detail) if part)
    code = code_of_sqlstate(error.sqlstate)
    remedy = error.diag.message_hint
    if remedy is None and code == "model_not_provisioned":
        remedy = "install pgsync and a schema into this database first: `pgsync push schema.py`"
    elif remedy is None and code == "forbidden":
        remedy = NEEDS_RIGHTS
    return Failure(f"{code} (SQLSTATE {error.sqlstate})", detail, remedy)
