"""`pgsync status`: what is installed in a database, who is connected for pgsync, and how far behind they are.

Everything is asked of the database, so it is also true of gateways on other machines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import click
import psycopg
from psycopg.rows import class_row

from pgsync import sqlfiles
from pgsync.cli import options
from pgsync.cli.slots import Slot, read_slots
from pgsync.cli.table import moment, size, span, table
from pgsync.config import admin_url

_POOLS: Final = ("reads", "writes", "notifications")


@dataclass(frozen=True, slots=True)
class Summary:
    """The row of `sql/status/summary.sql`; None is what there is not."""

    database: str
    postgres_version: str
    migration: str | None
    schema_version: int | None
    schema_hash: str | None
    schema_activated_at: datetime | None
    last_sync_id: int | None
    counted_at: datetime | None
    counted_seconds_ago: float | None
    open_claims: int
    oldest_transaction_seconds: float | None


@dataclass(frozen=True, slots=True)
class Connected:
    """A row of `sql/status/gateways.sql`: connections for one purpose, of one deployment, from one address."""

    purpose: str
    deployment: str | None
    address: str
    connections: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Deployment:
    """Gateways that share a slot. `gateways` counts each worker; `slot` is None when it has been dropped."""

    name: str
    gateways: int
    has_workers: bool
    addresses: tuple[str, ...]
    since: datetime | None
    slot: Slot | None

    def as_json(self) -> dict[str, Any]:
        """With the names that `/api/health` uses."""
        return {
            "deployment": self.name,
            "gateways": self.gateways,
            "workers": self.has_workers,
            "addresses": list(self.addresses),
            "since": self.since and self.since.isoformat(),
            "slot": self.slot and self.slot.as_json(),
        }


def _deployments(connected: Sequence[Connected], slots: Iterable[Slot]) -> list[Deployment]:
    by_name = {slot.deployment: slot for slot in slots}
    names = {c.deployment for c in connected if c.deployment is not None} | by_name.keys()
    found: list[Deployment] = []
    for name in sorted(names):
        listeners = [c for c in connected if c.deployment == name and c.purpose == "listener"]
        found.append(
            Deployment(
                name,
                gateways=sum(c.connections for c in listeners),
                has_workers=any(c.deployment == name and c.purpose == "relay" for c in connected),
                addresses=tuple(sorted({c.address for c in listeners})),
                since=min((c.since for c in listeners), default=None),
                slot=by_name.get(name),
            )
        )
    return found


def _row(deployment: Deployment) -> list[str]:
    slot = deployment.slot
    return [
        deployment.name,
        f"{deployment.gateways}{' workers' if deployment.has_workers else ''}",
        ", ".join(deployment.addresses) or "-",
        moment(deployment.since),
        "none" if slot is None else slot.state,
        size(None if slot is None else slot.lag_bytes),
        span(None if slot is None else slot.lag_seconds),
        size(None if slot is None else slot.retained_bytes),
    ]


def _tell(summary: Summary, pools: dict[str, int], deployments: Sequence[Deployment]) -> Iterable[str]:
    yield f"database    {summary.database} on PostgreSQL {summary.postgres_version}, migration {summary.migration}"
    if summary.schema_version is None:
        yield "schema      none is active: `pgsync push`"
    else:
        since = moment(summary.schema_activated_at)
        yield f"schema      version {summary.schema_version} ({summary.schema_hash}), active since {since}"
    if summary.last_sync_id is None:
        yield "sync ids    none yet: no gateway has run here"
    else:
        yield f"sync ids    up to {summary.last_sync_id}, stored {span(summary.counted_seconds_ago)} ago"
    yield f"claims      {summary.open_claims} held or waited for"
    if summary.oldest_transaction_seconds is not None:
        yield f"writers     the oldest transaction that writes is open for {span(summary.oldest_transaction_seconds)}"
    yield "pools       " + ", ".join(f"{count} {purpose}" for purpose, count in pools.items())
    yield ""
    if deployments:
        columns = ("deployment", "gateways", "from", "since", "slot", "lag", "behind", "retained")
        yield table(columns, map(_row, deployments))
    else:
        yield "no gateway is connected, and none has left a slot"


@click.command("status")
@options.database_url
@options.as_json
def command(database_url: str | None, as_json: bool) -> None:
    """Show what is installed, which gateways and workers are connected, and how far behind they are."""
    with psycopg.connect(admin_url(database_url)) as connection:
        with connection.cursor(row_factory=class_row(Summary)) as cursor:
            summary = cursor.execute(sqlfiles.read("status/summary.sql")).fetchone()
        assert summary is not None
        with connection.cursor(row_factory=class_row(Connected)) as cursor:
            connected = cursor.execute(sqlfiles.read("status/gateways.sql")).fetchall()
        slots = [slot for slot in read_slots(connection) if slot.database == summary.database]
    pools = {p: sum(c.connections for c in connected if c.purpose == p) for p in _POOLS}
    deployments = _deployments(connected, slots)
    if not as_json:
        click.echo("\n".join(_tell(summary, pools, deployments)))
        return
    said = {
        "database": summary.database,
        "postgresVersion": summary.postgres_version,
        "migration": summary.migration,
        "schema": {
            "version": summary.schema_version,
            "hash": summary.schema_hash,
            "activatedAt": summary.schema_activated_at and summary.schema_activated_at.isoformat(),
        },
        "lastSyncId": summary.last_sync_id,
        "countedAt": summary.counted_at and summary.counted_at.isoformat(),
        "openClaims": summary.open_claims,
        "oldestTransactionSeconds": summary.oldest_transaction_seconds,
        "pools": pools,
        "deployments": [deployment.as_json() for deployment in deployments],
    }
    click.echo(json.dumps(said, indent=2))
