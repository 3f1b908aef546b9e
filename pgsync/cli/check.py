"""`pgsync check`: whether the tables of your database fit a schema, with what mends each that does not."""

from __future__ import annotations

import json
import sys

import click

from pgsync.cli import options
from pgsync.cli.doctor import EXIT_CODES
from pgsync.config import admin_url


@click.command("check")
@options.schema
@options.database_url
@click.option("--json", "as_json", is_flag=True, help="One JSON array of {level, object, finding, remedy}.")
def command(schema: str, database_url: str | None, as_json: bool) -> None:
    """Say what keeps the tables of your database from serving SCHEMA, or will hurt, and what to do.

    Changes nothing, reads no row, and needs nothing of pgsync there. Exit codes: 0 nothing but notices, 4 a warning,
    5 an error, which a push would refuse. The queries are in sql/fit.
    """
    from pgsync.push.doctor import worst
    from pgsync.push.fit import check_fit
    from pgsync.schema import load_schema

    findings = check_fit(admin_url(database_url), load_schema(schema).resolved)
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    elif not findings:
        click.echo("the tables fit")
    for finding in [] if as_json else findings:
        click.echo(f"{finding.level:<8} {finding.object}: {finding.finding}\n{'':<8} -> {finding.remedy}")
    sys.exit(EXIT_CODES[worst(findings)])
