"""The `pgsync` command: one module per command, loaded when it is called.

Exit codes: 0 done; 1 refused or failed; 2 the command line or a setting is wrong; 3 not in sync (`--check`); 4 and
5 what `doctor` or `check` found, 5 also a broken audit trail; 6 the database cannot be reached; 130 interrupted.
Standard error then holds the code, what is wrong and what to do.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import click

from pgsync.cli.failure import EXIT_INTERRUPTED, explain

COMMANDS: Final = {
    "demo": "Run everything on an embedded Postgres with the bundled tasks schema.",
    "dev": "Run everything on an embedded Postgres with your schema; push again on every save.",
    "connect": "Make an existing server ready for pgsync.",
    "pull": "Write the tables of your database down as a Python schema.",
    "check": "Say whether the tables of your database fit a schema.",
    "push": "Install pgsync and a schema into your database.",
    "migrate": "Make and alter the tables of a schema.",
    "compile": "Write the SQL that a schema becomes, for a DBA to read and apply.",
    "serve": "Run a gateway on a database that a schema was pushed to.",
    "status": "Show what is installed, which gateways are connected, and how far behind they are.",
    "slots": "List the replication slots of gateways, and drop what nobody reads.",
    "audit": "Show who did what to a row, with a key or for a person, and prove that the record was not changed.",
    "uninstall": "Take pgsync out of your database, or print the SQL that does.",
    "doctor": "Say what is wrong in your database, or will be, and what to do.",
    "keys": "Create, list and revoke the keys that clients send.",
}


class _LazyGroup(click.Group):
    """Imports a command's module only when it is called, so that `pgsync --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"pgsync.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong command line or setting, 3 not in sync (--check),"
    " 4 and 5 findings of doctor, check and audit verify, 6 database out of reach, 130 interrupted.",
)
@click.version_option(package_name="pgsync-layer", prog_name="pgsync", message="%(prog)s %(version)s")
def cli() -> None:
    """Safe, live, multi-writer rows in your own Postgres."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with the code that the module's docstring lists."""
    try:
        outcome = cli.main(args=arguments, prog_name="pgsync", standalone_mode=False)
        sys.exit(outcome if isinstance(outcome, int) else 0)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except Exception as exc:  # every error ends here, and those of ours without a traceback
        failure = explain(exc)
        if failure is None:
            raise
        failure.show()
        sys.exit(failure.exit_code)
