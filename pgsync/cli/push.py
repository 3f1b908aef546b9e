"""`pgsync push`: installs pgsync and a schema into a database, or prints what it would run."""

from __future__ import annotations

import click

from pgsync.cli import options
from pgsync.config import admin_url
from pgsync.errors import PgsyncError


@click.command("push")
@click.argument("schema", metavar="[SCHEMA]", required=False)
@options.database_url
@click.option("--dry-run", is_flag=True, help="Print exactly what would run, and run nothing.")
@click.option(
    "--migrate/--no-migrate",
    default=True,
    help="Whether to create tables, and columns of tables that a push created. Default: yes.",
)
@click.option("--force", is_flag=True, help="Let models and fields leave the schema; their tables and columns stay.")
@click.option("--proposed", is_flag=True, help="Push the newest schema that was sent over HTTP, in place of SCHEMA.")
def command(
    schema: str | None, database_url: str | None, dry_run: bool, migrate: bool, force: bool, proposed: bool
) -> None:
    """Install pgsync and SCHEMA into your database, in one transaction together with its activation.

    SCHEMA is a file (schema.py, schema.json) or a Python attribute (app.models:schema). Pushing the same schema again
    changes nothing.
    """
    if proposed == (schema is not None):
        raise click.UsageError("give a SCHEMA, or --proposed for the newest that was sent over HTTP")
    from pgsync.push import push, read_proposals, schema_of_wire
    from pgsync.schema import load_schema

    url = admin_url(database_url)
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
        declared = schema_of_wire(newest.document)
    click.echo(push(url, declared, migrate=migrate, force=force, dry_run=dry_run))
