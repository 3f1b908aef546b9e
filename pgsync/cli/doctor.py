"""`pgsync doctor`: what is wrong with pgsync in a database, or will be, each with its remedy."""

from __future__ import annotations

import json
import sys
from typing import Final

import click

from pgsync.cli import options
from pgsync.config import admin_url

EXIT_CODES: Final = {None: 0, "notice": 0, "warning": 4, "error": 5}


@click.command("doctor")
@options.database_url
@click.option(
    "--listener-url",
    metavar="URL",
    envvar="PGSYNC_LISTENER_URL",
    help="What a gateway reads the log with; its way to the server is tried too. Default: $PGSYNC_LISTENER_URL.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array of {level, object, finding, remedy}.")
def command(database_url: str | None, listener_url: str | None, as_json: bool) -> None:
    """Say what is wrong with pgsync in your database, or will be, and what to do.

    Changes nothing. Exit codes: 0 nothing but notices, 4 a warning, 5 an error. The queries are in sql/checks.
    """
    from pgsync.push.doctor import examine, worst

    findings = examine(admin_url(database_url), listener_url=listener_url)
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    elif not findings:
        click.echo("nothing found")
    else:
        for finding in findings:
            click.echo(f"{finding.level:<8} {finding.object}: {finding.finding}\n{'':<8} -> {finding.remedy}")
    sys.exit(EXIT_CODES[worst(findings)])
