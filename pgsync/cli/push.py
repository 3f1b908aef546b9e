"""`pgsync push`: installs pgsync and a schema into a database, or prints what it would run."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from pgsync.cli import options
from pgsync.cli.failure import EXIT_NOT_IN_SYNC, explain
from pgsync.config import admin_url
from pgsync.errors import PgsyncError

if TYPE_CHECKING:
    from pgsync.push import Limits, Wishes
    from pgsync.schema import Schema


@click.command("push")
@click.argument("schema", metavar="[SCHEMA]", required=False)
@options.database_url
@click.option("--dry-run", is_flag=True, help="Print exactly what would run, and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run or --check: the plan as JSON.")
@click.option("--check", is_flag=True, help="Run nothing; exit with 3 when the database is not in sync. For CI.")
@click.option(
    "--migrate/--no-migrate",
    default=False,
    help="Also create missing tables and alter those that pgsync made. Default: no.",
)
@options.allow
@options.rename
@options.backfill
@click.option("--force", is_flag=True, help="Allow everything that breaks clients; tables, columns and rows stay.")
@click.option("--proposed", is_flag=True, help="Push the newest schema that was sent over HTTP, in place of SCHEMA.")
@options.limits
def command(
    schema: str | None,
    database_url: str | None,
    dry_run: bool,
    as_json: bool,
    check: bool,
    migrate: bool,
    allow: tuple[str, ...],
    rename: tuple[str, ...],
    backfill: tuple[str, ...],
    force: bool,
    proposed: bool,
    limits: Limits,
) -> None:
    """Install pgsync and SCHEMA into your database, in one transaction together with its activation.

    SCHEMA is a file (schema.py, schema.json) or a Python attribute (app.models:schema). Pushing the same schema again
    changes nothing. Tables have to be there (`pgsync migrate`) unless you say --migrate. What adds to the active
    version just happens; what breaks its clients needs --allow, --rename or --backfill, which name it. Indexes and
    constraints on tables with rows follow the transaction, beside readers and writers; when that is interrupted, push
    again.
    """
    if proposed == (schema is not None):
        raise click.UsageError("give a SCHEMA, or --proposed for the newest that was sent over HTTP")
    if as_json and not (dry_run or check):
        raise click.UsageError("--json goes with --dry-run or --check")
    from pgsync.push import Wishes, parse_backfill, parse_rename, push, read_proposals, wishes_of_wire
    from pgsync.push import schema_of_wire as read_schema
    from pgsync.schema import load_schema

    url = admin_url(database_url)
    try:
        wishes = Wishes(
            migrate=migrate,
            force=force,
            allow=frozenset(allow),
            renames=tuple(map(parse_rename, rename)),
            backfills=tuple(map(parse_backfill, backfill)),
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    if schema is not None:
        declared = load_schema(schema)
    else:
        proposals = read_proposals(url)
        if not proposals:
            hint = "clients propose one with POST /api/schema; or give a SCHEMA"
            raise PgsyncError("invalid_schema", "no schema is proposed", details={"hint": hint})
        newest = proposals[0]
        click.echo(
            f"schema {newest.hash}, proposed by {newest.proposed_by} at {newest.proposed_at:%Y-%m-%d %H:%M:%S %Z}",
            err=True,
        )
        declared = read_schema(newest.document)
        # That it asks for force gives it none: whoever runs this command has to.
        asked = wishes_of_wire(newest.options, migrate=migrate)
        wishes = replace(
            wishes, renames=(*wishes.renames, *asked.renames), backfills=(*wishes.backfills, *asked.backfills)
        )
    for warning in declared.resolved.warnings:
        click.echo(f"warning: {warning}", err=True)
    if check:
        _check(url, declared, wishes, limits, as_json=as_json)
        return
    result = push(url, declared, wishes=wishes, dry_run=dry_run, limits=limits)
    click.echo(result.plan.to_json() if as_json else result)


def _check(url: str, declared: Schema, wishes: Wishes, limits: Limits, *, as_json: bool) -> None:
    """Ends with EXIT_NOT_IN_SYNC when anything is to do, whether or not a push would be refused."""
    from pgsync.push import PushError, push

    try:
        result = push(url, declared, wishes=replace(wishes, migrate=True, force=True), dry_run=True, limits=limits)
    except PushError as exc:
        failure = explain(exc)
        assert failure is not None
        failure.show()
        sys.exit(EXIT_NOT_IN_SYNC)
    if as_json:
        click.echo(result.plan.to_json())
    elif not result.changed:
        click.echo(f"in sync: version {result.version}, hash {result.hash}")
    else:
        click.echo(f"not in sync with version {result.version}, hash {result.hash or 'none'}; a push would:")
        for step in result.plan.steps:
            click.echo(f"  {step.title}")
    if result.changed:
        sys.exit(EXIT_NOT_IN_SYNC)
