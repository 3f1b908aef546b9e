"""Options that several commands share, worded once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from pgsync.config import ADMIN_VARIABLE

_Command = Callable[..., None]

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
allow = click.option(
    "--allow",
    multiple=True,
    metavar="MODEL[.FIELD]",
    help="Let this one change happen although it breaks clients; a refusal says which to name. Repeatable.",
)
rename = click.option(
    "--rename",
    multiple=True,
    metavar="MODEL[.FIELD]:NAME",
    help="The field, or the model, has another name now: values and rows stay. Repeatable.",
)
backfill = click.option(
    "--backfill",
    multiple=True,
    metavar="MODEL.FIELD=VALUE",
    help="What rows get that have no value which the field may have. Repeatable.",
)


def _seconds(name: str, default: float, help_text: str, *, least: float = 0) -> Callable[[_Command], _Command]:
    return click.option(
        name,
        type=click.FloatRange(min=least),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=help_text,
    )


def limits(command: _Command) -> _Command:
    """How long a command waits for locks and statements; it is given them together, as `limits`."""

    @wraps(command)
    def with_limits(
        *, lock_timeout: float, patience: float, statement_timeout: float, concurrent_timeout: float, **values: Any
    ) -> None:
        from pgsync.push import Limits

        command(
            **values,
            limits=Limits(
                lock_timeout_seconds=lock_timeout,
                patience_seconds=patience,
                statement_timeout_seconds=statement_timeout,
                concurrent_timeout_seconds=concurrent_timeout,
            ),
        )

    for option in (
        _seconds(
            "--concurrent-timeout",
            86400,
            "Longest time for one step that is in nobody's way, such as building an index.",
        ),
        _seconds("--statement-timeout", 300, "Longest time for a statement in the transaction."),
        _seconds("--patience", 60, "How long to try again, with pauses, while somebody holds a lock."),
        _seconds("--lock-timeout", 1, "Longest wait for a lock: others queue up behind it.", least=0.001),
    ):
        option(with_limits)
    return with_limits
