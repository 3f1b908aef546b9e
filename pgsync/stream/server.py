"""What a server must allow so that a gateway can read its log, and what its limits mean for the slot.

What stops a gateway is an error with the remedy; what an operator has to know is an event of the log.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PGconn, Ping

from pgsync import log
from pgsync.log import Event
from pgsync.stream.connect import (
    ConnectionLostError,
    LoginRefusedError,
    ReplicationError,
    ReplicationRightError,
    ServerFullError,
    SynchronousStandbyError,
    with_settings,
)
from pgsync.stream.listener import Listener, ServerLimits

_RULE: Final = re.compile(r"\s*(?:(?:first|any)\s+)?\d+\s*\((.*)\)\s*\Z", re.IGNORECASE | re.DOTALL)
_NAME: Final = re.compile(r'"((?:[^"]|"")*)"|([^\s,"]+)')


def waits_for(synchronous_standby_names: str, application_name: str) -> bool:
    """Whether commits wait for a walsender of this name, by the rules of `synchronous_standby_names`.

    https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES
    """
    ruled = _RULE.match(synchronous_standby_names)
    names = synchronous_standby_names if ruled is None else ruled[1]
    for quoted, plain in _NAME.findall(names):
        name = plain or quoted.replace('""', '"')
        if name == "*" or name.lower() == application_name.lower():
            return True
    return False


async def log_in(conninfo: str, *, application_name: str, is_first: bool) -> Listener:
    """The connection beside a stream; `is_first` when the server has never let us in.

    Raises LoginRefusedError when it is there and refuses us then, else psycopg.OperationalError.
    """
    try:
        return await Listener.connect(conninfo, application_name=application_name)
    except psycopg.OperationalError as error:
        refused = await _explain_login(conninfo, error) if is_first else None
        if refused is None:
            raise
        raise refused from error


async def _explain_login(conninfo: str, error: psycopg.OperationalError) -> ReplicationError | None:
    """Why there is no ordinary connection, if the server is there: then trying again does not help."""
    whole = with_settings(conninfo)
    if await asyncio.to_thread(PGconn.ping, whole.encode()) != Ping.OK:
        return None
    given = conninfo_to_dict(conninfo)
    return LoginRefusedError(
        f"the server refuses the listener's login: {str(error).strip()}",
        hint=(
            "Check the role, its password and the database in the connection string; pg_hba.conf needs a line that lets"
            f" {given.get('user') or 'the role'} into database {given.get('dbname') or 'that is named'} from here."
        ),
        sqlstate=error.sqlstate,
    )


async def explain_refusal(listener: Listener, error: ConnectionLostError) -> ReplicationError:
    """Why there is an ordinary connection and none in replication mode: libpq has no SQLSTATE for it."""
    try:
        limits = await listener.limits()
    except psycopg.Error:
        return error  # the server is going away
    if not limits.may_replicate:
        return ReplicationRightError(
            f"role {limits.role} may not read the write-ahead log",
            hint=f"As a superuser: ALTER ROLE {limits.role} REPLICATION; at a provider, grant it the role that stands"
            " for it (such as rds_replication).",
        )
    if limits.senders >= limits.max_senders:
        return ServerFullError(
            f"all {limits.max_senders} walsenders of the server are in use",
            hint="Raise max_wal_senders and restart the server, or end replication that nobody needs"
            " (pg_stat_replication).",
        )
    error.hint = f"Ordinary connections work; if this stays, pg_hba.conf must let {limits.role} in for replication."
    return error


def check_synchronous(limits: ServerLimits, application_name: str) -> None:
    """Raises SynchronousStandbyError when commits on the server would wait for the walsender of this name.

    It confirms late on purpose, so that a restart can read again what clients may resume from: a server that waits for
    it would stand still for minutes at every commit.
    """
    if waits_for(limits.synchronous_standbys, application_name):
        raise SynchronousStandbyError(
            f"with synchronous_standby_names = {limits.synchronous_standbys!r} every commit waits for this gateway",
            hint="Name the standbys that commits shall wait for in place of *, such as"
            " ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby1, standby2)'; then SELECT pg_reload_conf().",
        )


def tell_limits(limits: ServerLimits, slot: str, *, failover: bool) -> None:
    """Logs when the server gives up the slot, and what that means."""
    ends: list[str] = []
    if limits.keep_bytes is not None:
        ends.append(f"more than {limits.keep_bytes:,} bytes of log behind (max_slot_wal_keep_size)")
    if limits.idle_seconds is not None:
        ends.append(f"away for {limits.idle_seconds:,.0f} seconds (idle_replication_slot_timeout)")
    if ends:
        meaning = f"a gateway that is {' or '.join(ends)} loses its slot: it makes another and every client bootstraps"
    else:
        meaning = (
            "the server keeps log for a gateway that is away until its disk is full:"
            " set max_slot_wal_keep_size, and drop slots of gateways that are gone (`pgsync slots`)"
        )
    log.emit(
        Event.SLOT_LIMITS,
        slot=slot,
        keep_bytes=limits.keep_bytes,
        idle_seconds=limits.idle_seconds,
        wal_keep_bytes=limits.wal_keep_bytes,
        failover=failover,
        waits_for=(limits.failover_standbys or None) if failover else None,
        meaning=meaning,
    )
