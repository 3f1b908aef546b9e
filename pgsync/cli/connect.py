"""`pgsync connect`: makes an existing server ready for pgsync, with an admin's connection string that is used once."""

from __future__ import annotations

import click

from pgsync.cli import options
from pgsync.config import admin_url


@click.command("connect")
@options.database_url
@click.option("--pusher", metavar="ROLE", help="A role that is to push schemas from now on, if not a superuser.")
@click.option("--passwords/--no-passwords", default=True, help="Give the gateway's roles new passwords. Default: yes.")
@click.option("--show-sql", is_flag=True, help="Print what would run, and run nothing.")
def command(database_url: str | None, pusher: str | None, passwords: bool, show_sql: bool) -> None:
    """Make a server ready for pgsync: its roles, who may push, the log; and say what needs a restart.

    The connection string is an admin's. It is used for this and stored nowhere. The new connection strings are shown
    once, on standard output, as settings of `pgsync serve`.
    """
    from pgsync.push.connect import connect

    done = connect(admin_url(database_url), pusher=pusher, set_passwords=passwords and not show_sql, dry_run=show_sql)
    if show_sql:
        click.echo(done.sql)
    else:
        for step in done.steps:
            click.echo(f"done: {step.title}", err=True)
    if done.server.provider != "self":
        click.echo(f"this is a server of {done.server.provider}", err=True)
    for deed in done.remaining:
        click.echo(f"{click.style('to do', bold=True)}: {deed}", err=True)
    if done.gateway_url is not None:
        click.echo(f"PGSYNC_DATABASE_URL={done.gateway_url}")
        click.echo(f"PGSYNC_LISTENER_URL={done.listener_url}")
    if not show_sql:
        click.echo("next: pgsync push schema.py, then pgsync serve", err=True)
