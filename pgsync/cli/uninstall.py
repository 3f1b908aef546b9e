"""`pgsync uninstall`: takes pgsync out of a database, or prints the SQL that does."""

from __future__ import annotations

import click
import psycopg

from pgsync import sqlfiles
from pgsync.cli import options
from pgsync.cli.failure import NEEDS_RIGHTS
from pgsync.config import admin_url
from pgsync.errors import PgsyncError

UNINSTALL = "uninstall.sql"


@click.command("uninstall")
@options.database_url
@click.option("--run", is_flag=True, help="Run it. Without this the SQL is printed and nothing is touched.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(database_url: str | None, run: bool, yes: bool) -> None:
    """Take pgsync out of your database: policies, triggers, publication, slots, functions and the state of pgsync.

    Your tables and their rows stay, also those that a push created. Stop the gateways first. Without --run, prints the
    SQL, which `psql -v ON_ERROR_STOP=1 -f` runs as well.
    """
    statement = sqlfiles.read(UNINSTALL)
    if not run:
        click.echo(statement, nl=False)
        return
    with psycopg.connect(admin_url(database_url), application_name="pgsync uninstall") as connection:
        if not yes:
            click.confirm(f"Take pgsync out of database {connection.info.dbname}? Its audit trail goes too", abort=True)
        connection.add_notice_handler(lambda notice: click.echo(notice.message_primary, err=True))
        try:
            connection.execute(statement.encode())
        except (
            psycopg.errors.ObjectInUse,
            psycopg.errors.DependentObjectsStillExist,
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.RaiseException,
        ) as error:
            told = "; ".join(filter(None, (error.diag.message_primary, error.diag.message_detail)))
            otherwise = "take these away first, then run this again"
            if isinstance(error, psycopg.errors.InsufficientPrivilege):
                otherwise = NEEDS_RIGHTS
            elif isinstance(error, psycopg.errors.RaiseException):
                otherwise = "an event trigger of this database refuses it: ALTER EVENT TRIGGER .. DISABLE, then again"
            hint = error.diag.message_hint or otherwise
            raise PgsyncError("migration_failed", f"nothing was removed: {told}", details={"hint": hint}) from error
    click.echo("pgsync is out of this database; your tables and rows are as they were")
