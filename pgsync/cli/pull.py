"""`pgsync pull`: a typed Python schema from tables that exist."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

import click

from pgsync.cli import options
from pgsync.config import admin_url
from pgsync.errors import PgsyncError

_NO_TABLES: Final = "views, foreign tables and partitions of a table have no changes of their own to follow"


@click.command("pull")
@options.database_url
@click.option("--namespace", multiple=True, metavar="NAME", help="Where the tables are. Repeatable. Default: public.")
@click.option(
    "--table", multiple=True, metavar="PATTERN", help="Only tables of these names; * and ? match. Repeatable."
)
@click.option(
    "--tenant",
    multiple=True,
    default=("organization_id",),
    show_default=True,
    metavar="COLUMN",
    help="The column that says which organization a row belongs to. Repeatable: of each table the first that it has.",
)
def command(
    database_url: str | None, namespace: tuple[str, ...], table: tuple[str, ...], tenant: tuple[str, ...]
) -> None:
    """Write the tables of your database down as a typed Python schema, on standard output.

    Changes nothing and reads no row. What cannot be taken over is left out with a comment that says why. The file is
    yours to edit; `pgsync check` then says what a push would still miss.
    """
    from pgsync.push.existing import read_existing
    from pgsync.push.source import write_schema

    namespaces = namespace or ("public",)
    tables = read_existing(admin_url(database_url), namespaces=namespaces, patterns=table)
    if not tables:
        where = ", ".join(namespaces) + (f" of these names: {', '.join(table)}" if table else "")
        hint = f"say where they are with --namespace, and which with --table; {_NO_TABLES}"
        raise PgsyncError("entity_not_found", f"no table in {where}", details={"hint": hint})
    source = write_schema(tables, tenant=tenant)
    click.echo(source.text, nl=False)
    click.echo(f"{source.models} models; left out, and why, in the file: {len(source.left_out)}", err=True)
    names = [t.name for t in tables]
    unmatched = [p for p in table if not any(fnmatchcase(name, p.replace("[", "[[]")) for name in names)]
    if unmatched:
        click.echo(f"no table is called {', '.join(unmatched)}; {_NO_TABLES}", err=True)
    if source.shared:
        which = "all of them" if len(source.shared) == source.models else ", ".join(source.shared)
        click.echo(f"without a column {' or '.join(tenant)}, shared by all organizations: {which}", err=True)
    if source.candidates:
        found = ", ".join(f"{name} ({count} tables)" for name, count in source.candidates)
        click.echo(f"columns that could be it: {found}; name them with --tenant", err=True)
