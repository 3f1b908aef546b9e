"""`pgsync migrate`: makes and alters the tables of a schema. Only it and `push --migrate` ever touch columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgsync.cli import options
from pgsync.config import admin_url

if TYPE_CHECKING:
    from pgsync.push import Limits


@click.command("migrate")
@options.schema
@options.database_url
@click.option("--dry-run", is_flag=True, help="Print exactly what would run, and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: the plan as JSON.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write what would run to a file for psql, and run nothing.",
)
@options.backfill
@options.limits
def command(
    schema: str,
    database_url: str | None,
    dry_run: bool,
    as_json: bool,
    output: Path | None,
    backfill: tuple[str, ...],
    limits: Limits,
) -> None:
    """Create the tables of SCHEMA that are missing, and alter those that pgsync made.

    Every other table is left alone: what does not fit is listed with the statement that mends it. Nothing else is
    installed; `pgsync push` does that. Changes that the active version cannot live with, such as a renamed field, have
    to come together with the new one: `pgsync push --migrate`.
    """
    from pgsync.push import Wishes, migrate, parse_backfill
    from pgsync.schema import load_schema

    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run")
    try:
        wishes = Wishes(backfills=tuple(map(parse_backfill, backfill)))
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    declared = load_schema(schema)
    result = migrate(
        admin_url(database_url), declared, wishes=wishes, dry_run=dry_run or output is not None, limits=limits
    )
    if output is not None:
        output.write_text(str(result) + "\n", encoding="utf-8")
        click.echo(output)
    elif as_json:
        click.echo(result.plan.to_json())
    elif not result.changed and not dry_run:
        click.echo("unchanged: the tables fit the schema")
    else:
        click.echo(result)
