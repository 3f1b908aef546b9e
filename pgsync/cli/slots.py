"""`pgsync slots`: which gateways hold log back in the server, how much, and how to let go of what nobody reads.

A slot without a reader makes the server keep log until its disk is full; only a person can know that nobody will come
back for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import click
import psycopg
from psycopg.rows import class_row

from pgsync import sqlfiles
from pgsync.cli import options
from pgsync.cli.table import moment, size, span, table
from pgsync.config import admin_url
from pgsync.errors import PgsyncError
from pgsync.names import SLOT_PREFIX

ORPHANED_HOURS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Slot:
    """One row of `sql/slots/list.sql`; None is what the server does not tell."""

    name: str
    deployment: str
    database: str
    active: bool
    since: datetime | None
    idle_seconds: float | None
    lag_bytes: int | None
    lag_seconds: float | None
    retained_bytes: int | None
    wal_status: str | None
    safe_bytes: int | None
    failover: bool | None
    reason: str | None
    checkpoint_known: bool | None
    orphaned: bool

    @property
    def state(self) -> str:
        """In one word."""
        if self.wal_status == "lost":
            return "lost"
        return "active" if self.active else "orphaned" if self.orphaned else "inactive"

    def as_json(self) -> dict[str, Any]:
        """With the names that `/api/health` uses."""
        return {
            "name": self.name,
            "deployment": self.deployment,
            "database": self.database,
            "state": self.state,
            "since": self.since and self.since.isoformat(),
            "lagBytes": self.lag_bytes,
            "lagSeconds": self.lag_seconds,
            "retainedBytes": self.retained_bytes,
            "walStatus": self.wal_status,
            "safeBytes": self.safe_bytes,
            "failover": self.failover,
            "invalidationReason": self.reason,
            "checkpointKnown": self.checkpoint_known,
        }


_COLUMNS: Final = (
    "slot",
    "database",
    "state",
    "since",
    "lag",
    "behind",
    "retained",
    "wal status",
    "safe",
    "failover",
    "checkpoint",
)


def _row(slot: Slot) -> list[str]:
    return [
        slot.name,
        slot.database,
        slot.state,
        moment(slot.since),
        size(slot.lag_bytes),
        span(slot.lag_seconds),
        size(slot.retained_bytes),
        slot.reason or slot.wal_status or "-",
        "no limit" if slot.safe_bytes is None else size(slot.safe_bytes),
        _word(slot.failover),
        _word(slot.checkpoint_known),
    ]


def _word(flag: bool | None) -> str:
    return {True: "yes", False: "no", None: "-"}[flag]


def read_slots(
    connection: psycopg.Connection[Any], *, name: str | None = None, orphaned_hours: float = ORPHANED_HOURS
) -> list[Slot]:
    """The slots of this cluster, or the one of this name."""
    parameters = {"name": name, "orphaned_seconds": orphaned_hours * 3600}
    with connection.cursor(row_factory=class_row(Slot)) as cursor:
        return cursor.execute(sqlfiles.read("slots/list.sql"), parameters).fetchall()


@click.group("slots", invoke_without_command=True)
@options.database_url
@options.as_json
@click.option(
    "--orphaned-hours",
    type=click.FloatRange(min=0),
    default=ORPHANED_HOURS,
    show_default=True,
    help="A slot that nobody has read for so long is marked.",
)
@click.pass_context
def command(context: click.Context, database_url: str | None, as_json: bool, orphaned_hours: float) -> None:
    """List the replication slots of gateways: who reads them, how far behind, what log the server keeps for them.

    Nothing is ever dropped without being asked for: `pgsync slots drop`.
    """
    if context.invoked_subcommand is not None:
        context.obj = database_url
        return
    with psycopg.connect(admin_url(database_url)) as connection:
        slots = read_slots(connection, orphaned_hours=orphaned_hours)
    if as_json:
        click.echo(json.dumps([slot.as_json() for slot in slots], indent=2))
        return
    if not slots:
        click.echo("no slots: no gateway has run here, or all were dropped")
        return
    click.echo(table(_COLUMNS, map(_row, slots)))
    for slot in slots:
        if slot.state in ("orphaned", "lost"):
            click.echo(
                f"{slot.name} is {slot.state}: {_why(slot)}."
                f" If its gateway will not come back: pgsync slots drop {slot.name}",
                err=True,
            )


def _why(slot: Slot) -> str:
    if slot.state == "lost":
        return "the server has removed log that it needs"
    if slot.checkpoint_known is False:
        return "no checkpoint says where its position stands, so a gateway makes another"
    return f"nobody has read it for {span(slot.idle_seconds or slot.lag_seconds)}"


@command.command("drop")
@options.database_url
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("name", metavar="SLOT")
@click.pass_obj
def drop(outer_url: str | None, database_url: str | None, yes: bool, name: str) -> None:
    """Drop SLOT, which nobody reads, after saying what it holds.

    Its gateway makes another when it comes back, and its clients bootstrap.
    """
    if not name.startswith(SLOT_PREFIX):
        name = SLOT_PREFIX + name
    with psycopg.connect(admin_url(database_url or outer_url), autocommit=True) as connection:
        found = read_slots(connection, name=name)
        if not found:
            raise PgsyncError("entity_not_found", f"no slot {name}", details={"hint": "see `pgsync slots`"})
        (slot,) = found
        if slot.active:
            raise PgsyncError(
                "invalid_request",
                f"{name} is being read since {slot.since:%Y-%m-%d %H:%M:%S %Z}"
                if slot.since
                else f"{name} is being read",
                details={"hint": "stop its gateway first"},
            )
        click.echo(
            f"{name} holds {size(slot.retained_bytes)} of log back and is {size(slot.lag_bytes)}"
            f" ({span(slot.lag_seconds)}) behind",
            err=True,
        )
        if not yes:
            click.confirm("Drop it? Clients of its gateway will have to bootstrap.", abort=True, err=True)
        connection.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", [name])
    click.echo(f"{name} is dropped")
