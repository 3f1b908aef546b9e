"""`pgsync demo`: `pgsync dev` with the tasks schema that comes with pgsync."""

from __future__ import annotations

from pathlib import Path

import click

from pgsync.cli import options


@click.command("demo")
@options.port
@options.data
def command(port: int | None, data: Path) -> None:
    """Run Postgres and a gateway on this machine with a small tasks schema, and print lines to try."""
    from pgsync.cli.dev import run
    from pgsync.dev.bundled import bundled_schema

    run(bundled_schema("tasks"), port, data)
