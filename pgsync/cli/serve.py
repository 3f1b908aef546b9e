"""`pgsync serve`: one gateway, on a database that a schema was pushed to."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import click

from pgsync import log
from pgsync.cli.failure import EXIT_REFUSED
from pgsync.config import GatewayConfig, variable

_HELP = {
    "database_url": "Connection string of the role pgsync_gateway.",
    "listener_url": "Connection string of the role pgsync_listener.",
    "host": "Address to listen on.",
    "port": "Port to listen on; 0 for a free one.",
    "workers": "Processes that share the port and the slot; limits are each one's own.",
    "deployment": "Names the replication slot: gateways side by side each need their own.",
    "slot_failover": "on or off: whether standbys keep a copy of the slot (PostgreSQL 17 and later).",
    "read_pool_size": "Most database connections for reads.",
    "write_pool_size": "Most database connections for writes.",
    "body_limit_bytes": "Largest request body.",
    "ring_seconds": "How long a client may be away and still resume.",
    "ring_bytes": "Most memory for what clients may still resume from.",
    "confirm_seconds": "How long a write waits for its echo from the write-ahead log.",
    "connection_limit": "Most live connections: WebSockets and event streams.",
    "participant_connection_limit": "Most live connections of one participant.",
    "cors_origin": "Origin whose pages may use the gateway from a browser, * for all; may be repeated.",
    "metrics": "Who is answered at /metrics: all, loopback or none.",
    "jwt_issuer": "iss claim of the identity provider whose tokens are taken beside keys.",
    "jwt_audience": "aud claim that its tokens must have, if any.",
    "jwt_secret": "Secret that its tokens are signed with (HS256).",
    "jwt_jwks": "Keys that its tokens are signed with: a JWKS file or URL.",
    "jwt_organization": "Organization of everybody with a token, in place of a claim.",
    "jwt_organization_claim": "Claim with the organization.",
    "jwt_participant_claim": "Claim with the participant.",
    "jwt_kind_claim": "Claim with user, agent or system, if any.",
    "jwt_groups_claim": "Claim with further sync groups, if any.",
    "jwt_operations_claim": "Claim with the operations that are allowed, if any; else all are.",
    "log_level": "debug, info, warning or error.",
    "log_format": "text or json.",
}


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    for setting in reversed(fields(GatewayConfig)):
        default = "" if setting.default in (MISSING, "", ()) else f" Default: {setting.default}."
        command = click.option(
            f"--{setting.name.replace('_', '-')}",
            type={"int": int, "float": float}.get(str(setting.type), str),
            multiple=setting.default == (),
            metavar="URL" if setting.name.endswith("_url") else None,
            help=f"{_HELP[setting.name]}{default} ${variable(setting.name)}",
        )(command)
    return command


@click.command("serve")
@_settings
def command(**given: Any) -> None:
    """Run a gateway until it is interrupted. Every option is also an environment variable; the option wins."""
    config = GatewayConfig.load(**given)
    from pgsync.cli.propose import propose
    from pgsync.gateway import (
        WorkerFailedError,
        process,
        run,
        run_workers,
    )  # after the settings, which are wrong more often than not

    log.configure(level=config.log_level, format=config.log_format)
    process.tune_collector()
    with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
        if config.workers == 1:
            runner.run(run(config, receive_schema=propose))
        else:
            try:
                runner.run(run_workers(config, [sys.executable, "-m", "pgsync.cli.worker"]))
            except WorkerFailedError as error:  # which has told why
                sys.exit(max(error.exit_code, EXIT_REFUSED))
