"""`pgsync dev`: everything on this machine, for development."""

from __future__ import annotations

from pathlib import Path

import click

from pgsync.cli import options


@click.command("dev")
@click.argument("schema", metavar="[SCHEMA]", required=False)
@options.port
@options.data
def command(schema: str | None, port: int | None, data: Path) -> None:
    """Run Postgres and a gateway on this machine, with SCHEMA pushed now and on every save.

    SCHEMA is a file (schema.py, schema.json) or a Python attribute (app.models:schema). Its tables are
    created and changed too. Without SCHEMA the gateway waits for one over POST /api/schema. Ctrl-C stops everything;
    the data stays.
    """
    run(schema, port, data)


def run(schema: str | None, port: int | None, data: Path) -> None:
    """Runs until interrupted; shared with `pgsync demo`."""
    from pgsync import log
    from pgsync.cli.failure import explain
    from pgsync.dev.run import Dev, DevOptions

    def report(error: BaseException) -> None:
        failure = explain(error) if isinstance(error, Exception) else None
        if failure is None:
            raise error
        failure.show()

    log.configure(level="warning")
    Dev(DevOptions(source=schema, data=data, port=port), say=click.echo, report=report).run()
