"""`pgsync push`: installs pgsync and a schema into a database, or prints what it would run."""

from __future__ import annotations

import click

from pgsync.cli import options
from pgsync.config import admin_url


@click.command("push")
@options.schema
@options.database_url
@click.option("--dry-run", is_flag=True, help="Print exactly what would run, and run nothing.")
@click.option(
    "--migrate/--no-migrate",
    default=True,
    help="Whether to create tables, and columns of tables that a push created. Default: yes.",
)
@click.option("--force", is_flag=True, help="Let models and fields leave the schema; their tables and columns stay.")
def command(schema: str, database_url: str | None, dry_run: bool, migrate: bool, force: bool) -> None:
    """Install pgsync and SCHEMA into your database, in one transaction together with its activation.

    SCHEMA is a file (schema.py, schema.json) or a Python attribute (app.models:schema). Pushing the same schema again
    changes nothing.
    """
    from pgsync.push import push
    from pgsync.schema import load_schema

    click.echo(push(admin_url(database_url), load_schema(schema), migrate=migrate, force=force, dry_run=dry_run))
