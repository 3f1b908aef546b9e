"""`pgsync compile`: writes the SQL that a schema becomes, without a database."""

from __future__ import annotations

from pathlib import Path

import click

from pgsync.cli import options


@click.command("compile")
@options.schema
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write roles.sql, push.sql, concurrent.sql and revert.sql here. Without it push.sql is printed.",
)
@click.option("--migrate", is_flag=True, help="Let push.sql also create the tables that are missing.")
def command(schema: str, output: Path | None, migrate: bool) -> None:
    """Write the SQL that SCHEMA becomes, for review: the same bytes every time, and no database needed.

    Apply the files in this order with `psql -X -v ON_ERROR_STOP=1 -f FILE`: roles.sql, push.sql, concurrent.sql. The
    result is what `pgsync push` makes. revert.sql takes it all out again.
    """
    from pgsync.compile import bundle_files, compile_schema
    from pgsync.schema import load_schema

    files = bundle_files(compile_schema(load_schema(schema).resolved), migrate=migrate)
    if output is None:
        click.echo(files["push.sql"], nl=False)
        return
    output.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (output / name).write_text(text, encoding="utf-8")
        click.echo(output / name)
