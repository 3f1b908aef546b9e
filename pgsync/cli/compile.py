"""`pgsync compile`: prints the SQL that a schema becomes, without a database."""

from __future__ import annotations

import click

from pgsync.cli import options


@click.command("compile")
@options.schema
def command(schema: str) -> None:
    """Print the SQL that SCHEMA becomes, for review: the same bytes every time, and no database needed."""
    from pgsync.compile import compile_schema
    from pgsync.schema import load_schema

    click.echo(compile_schema(load_schema(schema).resolved).text(), nl=False)
