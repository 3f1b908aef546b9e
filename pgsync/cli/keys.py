"""`pgsync keys`: creates, lists and revokes the keys that clients send; the database keeps only their sha-256."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import click
import psycopg
from psycopg.types.json import Jsonb

from pgsync import keys
from pgsync.cli import options
from pgsync.config import admin_url
from pgsync.errors import PgsyncError


@click.group("keys")
def command() -> None:
    """Create, list and revoke the keys that clients send."""


@command.command("create")
@options.database_url
@click.option("--organization", required=True, metavar="ID", help="Whose rows the key may see and write.")
@click.option("--user", metavar="ID", help="The key acts as this user.")
@click.option("--agent", metavar="ID", help="The key acts as this agent.")
@click.option("--system", metavar="ID", help="The key acts as a program of yours. Default: server.")
@click.option(
    "--kind", type=click.Choice(get_args(keys.KeyKind)), help="Default: sk for --system, ek for --user, rk for --agent."
)
@click.option(
    "--operation",
    "operations",
    multiple=True,
    metavar="MODEL.VERB",
    help="What it may do, such as task.update; repeat. Default: everything.",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="KIND:ID",
    help="A sync group it sees; repeat. Default: its organization's and its own.",
)
@click.option("--expires-in-hours", type=click.FloatRange(min=0, min_open=True), help="Default: never.")
@click.option("--label", help="For people, shown by `pgsync keys list`.")
def create(
    database_url: str | None,
    organization: str,
    user: str | None,
    agent: str | None,
    system: str | None,
    kind: keys.KeyKind | None,
    operations: tuple[str, ...],
    groups: tuple[str, ...],
    expires_in_hours: float | None,
    label: str | None,
) -> None:
    """Create a key and print it, once: it cannot be shown again.

    The key is all there is on standard output; its id, for `pgsync keys revoke`, goes to standard error.
    """
    given = [(name, value) for name, value in (("user", user), ("agent", agent), ("system", system)) if value]
    if len(given) > 1:
        raise click.UsageError("a key acts as one participant: give one of --user, --agent and --system")
    participant_kind, participant_id = given[0] if given else ("system", "server")
    defaults: dict[str, keys.KeyKind] = {"user": "ek", "agent": "rk", "system": "sk"}
    chosen = kind or defaults[participant_kind]
    key = keys.generate(chosen)
    request: dict[str, Any] = {
        "keyHash": keys.digest(key).hex(),
        "keyKind": chosen,
        "organizationId": organization,
        "participantKind": participant_kind,
        "participantId": participant_id,
        "label": label,
    }
    if operations:
        request["operations"] = list(operations)
    if groups:
        request["syncGroups"] = list(groups)
    if expires_in_hours is not None:
        request["expiresAt"] = (datetime.now(UTC) + timedelta(hours=expires_in_hours)).isoformat()
    with psycopg.connect(admin_url(database_url)) as connection:
        row = connection.execute("SELECT pgsync.create_credential_v1(%s)", [Jsonb(request)]).fetchone()
    assert row is not None
    click.echo(f"{row[0]['capabilityId']}: {participant_kind} {participant_id} of {organization}", err=True)
    click.echo(key)


@command.command("list")
@options.database_url
@click.option("--organization", metavar="ID", help="Only those of this organization.")
def list_(database_url: str | None, organization: str | None) -> None:
    """List keys, newest first: id, kind, status, organization, participant, expiry, label."""
    with psycopg.connect(admin_url(database_url)) as connection:
        rows = connection.execute("SELECT c FROM pgsync.credentials_v1(%s) AS c", [organization]).fetchall()
    for (found,) in rows:
        participant = f"{found['participantKind']}:{found['participantId']}"
        parts = [found["capabilityId"], found["keyKind"], found["status"], found["organizationId"], participant]
        click.echo("\t".join([*parts, found.get("expiresAt") or "never expires", found.get("label") or ""]).rstrip())


@command.command("revoke")
@options.database_url
@click.argument("id", metavar="ID")
def revoke(database_url: str | None, id: str) -> None:
    """End the key with this ID now, on every gateway."""
    with psycopg.connect(admin_url(database_url)) as connection:
        row = connection.execute("SELECT pgsync.revoke_credential_v1(%s)", [id]).fetchone()
    if row is None or not row[0]:
        raise PgsyncError(
            "capability_not_found", f"no key {id} that could be revoked", details={"hint": "see `pgsync keys list`"}
        )
    click.echo(f"{id} is revoked")
