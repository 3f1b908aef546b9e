"""Options that several commands share, worded once."""

from __future__ import annotations

from pathlib import Path

import click

from pgsync.config import ADMIN_VARIABLE

database_url = click.option(
    "--database-url",
    metavar="URL",
    help=f"Connection string of a role that may create objects. Default: ${ADMIN_VARIABLE}.",
)
schema = click.argument("schema", metavar="SCHEMA")
port = click.option(
    "--port", type=click.IntRange(0, 65535), help="Port of the gateway; 0 for a free one. Default: 8080."
)
data = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".pgsync"),
    show_default=True,
    metavar="DIR",
    help="Where the database, its log and dev.json are kept.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
