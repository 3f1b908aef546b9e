"""What pgsync logs: a closed list of events with their fields, as text for a person or JSON for a collector.

No event carries row data, a key or a token; a message of Postgres that may quote a value is left out.
"""

from __future__ import annotations

import logging
import sys
import traceback
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TextIO

import psycopg
import structlog


@dataclass(frozen=True, slots=True, eq=False)  # equal kinds would make one event an alias of the other
class Kind:
    """How urgent an event is (a level of `logging`) and the fields that it may have. `error` takes an exception."""

    level: int
    fields: frozenset[str]


def _debug(*fields: str) -> Kind:
    return Kind(logging.DEBUG, frozenset(fields))


def _info(*fields: str) -> Kind:
    return Kind(logging.INFO, frozenset(fields))


def _warning(*fields: str) -> Kind:
    return Kind(logging.WARNING, frozenset(fields))


def _error(*fields: str) -> Kind:
    return Kind(logging.ERROR, frozenset(fields))


class Event(Enum):
    """Everything that is ever logged; the name in lower case is the event's name in the log."""

    GATEWAY_STARTED = _info("host", "port", "deployment", "postgres_version", "schema_version")
    GATEWAY_STOPPING = _info("sessions", "requests")
    GATEWAY_STOPPED = _info()
    REQUEST_SERVED = _debug("request_id", "method", "route", "status", "seconds")
    REQUEST_REFUSED = _info("request_id", "method", "route", "status", "code", "sqlstate")
    REQUEST_FAILED = _error("request_id", "method", "route", "status", "code", "error")
    COMMIT_UNCONFIRMED = _warning("server_tx_id", "waited_seconds")
    DATABASE_UNAVAILABLE = _error("error")
    SESSION_OPENED = _debug("session", "organization_id", "participant_kind", "capability_id")
    SESSION_CLOSED = _debug("session", "close_code", "reason")
    SESSION_BEHIND = _warning("session", "position", "oldest_position")
    SESSION_FAILED = _error("session", "error")
    COORDINATION_FAILED = _error("error")
    CREDENTIAL_REVOKED = _info("capability_id", "sessions_closed")
    SCHEMA_ACTIVATED = _info("version", "hash", "models")
    TABLE_CHANGED = _error("model", "problem", "remedy")
    SCHEMA_PROPOSED = _info("hash", "request_id")
    SCHEMA_PUSHED = _info("version", "hash", "models")
    SCHEMA_REFUSED = _error("path", "problems")
    STREAM_CONNECTED = _info("slot", "lsn", "sync_id")
    STREAM_DISCONNECTED = _warning("slot", "error", "meaning", "retry_seconds")
    STREAM_FAILED = _error("slot", "error", "meaning")
    STREAM_LAGGING = _warning("slot", "lag_bytes", "lag_seconds")
    SLOT_CREATED = _info("slot", "lsn", "failover")
    SLOT_LIMITS = _info("slot", "keep_bytes", "idle_seconds", "wal_keep_bytes", "failover", "waits_for", "meaning")
    SLOT_AT_RISK = _warning("slot", "wal_status", "retained_bytes", "safe_bytes", "meaning")
    SLOT_LOST = _error("slot", "reason", "meaning")
    AUDIT_NOT_SEALED = _warning("error")
    CHECKPOINT_STORED = _debug("lsn", "sync_id")
    CHECKPOINT_DISAGREES = _error("lsn", "stored_sync_id", "counted_sync_id")
    WORKERS_STARTED = _info("host", "port", "workers", "pid")
    WORKER_STARTED = _info("worker", "pid")
    WORKER_STUCK = _error("worker", "pid", "meaning")
    WORKER_ENDED = _error("worker", "pid", "exit_code", "restart_seconds")
    WORKERS_STOPPED = _info()
    POSTGRES_STARTED = _info("version", "data_dir", "pid")
    POSTGRES_STOPPED = _info("data_dir")


# Whose messages quote what somebody wrote: data exceptions, constraints, RAISE in a customer's trigger.
_QUOTING: Final = ("22", "23", "44", "P0")

_logger: Any = structlog.get_logger("pgsync")


def configure(
    *, level: str = "info", format: str = "text", stream: TextIO | None = None, worker: int | None = None
) -> None:
    """Chooses the least level that is logged and the form: `text` or `json`, one line an event, to standard error.

    Every line of a worker has its number.
    """
    out = stream if stream is not None else sys.stderr
    renderer: Any = (
        structlog.processors.JSONRenderer() if format == "json" else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    # Its pool says in free text, of any length, what our events say of the database: lost, away, back.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    mark: list[Any] = [] if worker is None else [lambda _, __, line: {"worker": worker} | line]
    structlog.configure(
        processors=[
            *mark,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(out),  # a line in one go: workers share it
    )


def emit(event: Event, **fields: Any) -> None:
    """Logs an event. Raises TypeError for a field that the event does not have: the list is closed on purpose."""
    unknown = fields.keys() - event.value.fields
    if unknown:
        raise TypeError(f"event {event.name} has no field {', '.join(sorted(unknown))}")
    error = fields.pop("error", None)
    if error is not None:
        fields |= describe(error) if isinstance(error, BaseException) else {"error": str(error)}
    _logger.log(event.value.level, event.name.lower(), **fields)


def describe(error: BaseException) -> dict[str, Any]:
    """An exception without what it might quote: its class, its SQLSTATE, where it was raised, what caused it."""
    described: dict[str, Any] = {"error": type(error).__qualname__}
    if isinstance(error, psycopg.Error):
        if error.sqlstate is not None:
            described["sqlstate"] = error.sqlstate
        if not (error.sqlstate or "").startswith(_QUOTING):
            described["message"] = error.diag.message_primary or str(error)
    elif isinstance(error, OSError):
        described["message"] = error.strerror or str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        described["raised_at"] = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[:-6:-1])
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        described["cause"] = type(cause).__qualname__
    return described
