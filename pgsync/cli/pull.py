"""`pgsync pull`: a typed Python schema from tables that exist."""

from __future__ import annotations

import click

from pgsync.cli import options
from pgsync.config import admin_url


@click.command("pull")
@options.database_url
@click.option("--namespace", multiple=True, metavar="NAME", help="Where the tables are. Repeatable. Default: public.")
@click.option(
    "--table", multiple=True, metavar="PATTERN", help="Only tables of these names; * and ? match. Repeatable."
)
@click.option(
    "--tenant",
    default="organization_id",
    show_default=True,
    metavar="COLUMN",
    help="The column that says which organization a row belongs to.",
)
def command(database_url: str | None, namespace: tuple[str, ...], table: tuple[str, ...], tenant: str) -> None:
    """Write the tables of your database down as a typed Python schema, on standard output.

    Changes nothing and reads no row. What cannot be taken over is left out with a comment that says why. The file is
    yours to edit; `pgsync check` then says what a push would still miss.
    """
    from pgsync.push.existing import read_existing
    from pgsync.push.source import write_schema

    tables = read_existing(admin_url(database_url), namespaces=namespace or ("public",), patterns=table)
    if not tables:
        click.echo("no such table", err=True)
    click.echo(write_schema(tables, tenant=tenant), nl=False)
