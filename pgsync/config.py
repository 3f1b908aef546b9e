"""Settings of a gateway: environment variables, with the command line on top, checked in one place.

Every name and unit that an operator can set is in `GatewayConfig`; nothing else in pgsync reads the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, Self, cast, get_args

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsync import names

ADMIN_VARIABLE: Final = "DATABASE_URL"
PREFIX: Final = "PGSYNC_"

LogLevel = Literal["debug", "info", "warning", "error"]
Access = Literal["all", "loopback", "none"]
LogFormat = Literal["text", "json"]
Switch = Literal["on", "off"]

_MIB: Final = 1024 * 1024
_SECRET_BYTES: Final = 32  # as long as the signature


class ConfigError(ValueError):
    """A setting is missing or wrong; the message names it, what it is and what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Settings of `pgsync serve`. Each is an environment variable `PGSYNC_<NAME>` and a flag `--<name>`.

    `database_url` connects as pgsync_gateway and `listener_url` as pgsync_listener (connection strings of libpq).
    `workers` processes serve on the one port, each with pools, ring and limits of its own; they share the slot.
    `deployment` names the replication slot: gateways that replace one another share it, those that run side by side
    do not. `slot_failover`: whether standbys keep a copy of the slot, from PostgreSQL 17 on. `ring_seconds` and
    `ring_bytes` bound how far back a returning client is served without a fresh snapshot. `confirm_seconds`
    bounds the wait for a commit's echo from the write-ahead log. `connection_limit` and
    `participant_connection_limit` bound the live connections (WebSockets and event streams together) of all and of one
    participant. `cors_origin` are the origins whose pages may use this gateway from a browser, `*` for all; in the
    environment they are separated by commas. `metrics`: who is answered at /metrics, all, loopback (callers on this
    machine) or none.

    `jwt_issuer` is the identity provider whose tokens are taken beside keys, signed with `jwt_secret` (HS256) or with a
    key of `jwt_jwks`, a file or an https URL. `jwt_audience`, when set, must be the token's. The `_claim` settings name
    the claims that say who acts and in which organization, unless `jwt_organization` is everybody's; those left empty
    are not read: the participant is a user, has its own and its organization's sync groups, and every operation.
    """

    database_url: str = field(repr=False)
    listener_url: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    deployment: str = "main"
    slot_failover: Switch = "on"
    read_pool_size: int = 8
    write_pool_size: int = 16
    body_limit_bytes: int = 8 * _MIB
    ring_seconds: float = 300.0
    ring_bytes: int = 256 * _MIB
    confirm_seconds: float = 10.0
    connection_limit: int = 20_000
    participant_connection_limit: int = 2_000
    cors_origin: tuple[str, ...] = ()
    metrics: Access = "loopback"
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_secret: str = field(default="", repr=False)
    jwt_jwks: str = ""
    jwt_organization: str = ""
    jwt_organization_claim: str = "org_id"
    jwt_participant_claim: str = "sub"
    jwt_kind_claim: str = ""
    jwt_groups_claim: str = ""
    jwt_operations_claim: str = ""
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{_spell(name)} is {value}, must be from {low} to {high}")
        for name in ("database_url", "listener_url"):
            if not getattr(self, name):
                raise ConfigError(f"{_spell(name)} is empty; {_MISSING[name]}")
        for name, allowed in (
            ("log_level", get_args(LogLevel)),
            ("log_format", get_args(LogFormat)),
            ("metrics", get_args(Access)),
            ("slot_failover", get_args(Switch)),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{_spell(name)} is {getattr(self, name)!r}, must be one of {', '.join(allowed)}")
        for origin in self.cors_origin:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s,]+/?", origin):
                raise ConfigError(
                    f"{_spell('cors_origin')} is {origin!r}, must be * or such as https://app.example.com"
                )
        self._check_jwt()
        try:
            names.slot_name(self.deployment)
        except ValueError as exc:
            raise ConfigError(f"{_spell('deployment')}: {exc}") from exc

    def _check_jwt(self) -> None:
        if not (self.jwt_secret or self.jwt_jwks):
            if self.jwt_issuer:
                raise ConfigError(f"{_spell('jwt_issuer')} is set; set {_spell('jwt_secret')} or {_spell('jwt_jwks')}")
            return
        if self.jwt_secret and self.jwt_jwks:
            raise ConfigError(f"{_spell('jwt_secret')} and {_spell('jwt_jwks')} are both set; set one of them")
        if not self.jwt_issuer:
            raise ConfigError(f"{_spell('jwt_issuer')} is not set; give the iss claim of the tokens to trust")
        if self.jwt_secret and len(self.jwt_secret.encode()) < _SECRET_BYTES:
            raise ConfigError(f"{_spell('jwt_secret')} is short, must have at least {_SECRET_BYTES} bytes")
        if "://" in self.jwt_jwks and not re.match(
            r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", self.jwt_jwks
        ):
            raise ConfigError(f"{_spell('jwt_jwks')} is {self.jwt_jwks!r}, must be a file or an https URL")

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ, **given: Any) -> Self:
        """Settings from the environment; `given` (the command line) wins, where None means not given.

        Raises ConfigError for the first setting that is missing or wrong.
        """
        values: dict[str, Any] = {}
        for setting in fields(cls):
            text = environment.get(variable(setting.name))
            if given.get(setting.name) not in (None, ()):
                values[setting.name] = given[setting.name]
            elif text:
                values[setting.name] = _parse(setting.name, text)
            elif setting.name in _MISSING:
                raise ConfigError(f"{_spell(setting.name)} is not set; {_MISSING[setting.name]}")
        unknown = given.keys() - {setting.name for setting in fields(cls)}
        if unknown:
            raise TypeError(f"no such settings: {sorted(unknown)}")
        return cls(**values)


_MISSING: Final[Mapping[str, str]] = {
    "database_url": "give a connection string of the role pgsync_gateway, such as postgresql://pgsync_gateway@host/db",
    "listener_url": "give a connection string of the role pgsync_listener, such as postgresql://pgsync_listener@host/db",
}

_RANGES: Final[tuple[tuple[str, float, float], ...]] = (
    ("port", 0, 65535),
    ("workers", 1, 64),
    ("read_pool_size", 1, 1000),
    ("write_pool_size", 1, 1000),
    ("body_limit_bytes", 1024, 1024 * _MIB),
    ("ring_seconds", 1, 86400),
    ("ring_bytes", _MIB, 65536 * _MIB),
    ("confirm_seconds", 0, 25),  # clients give a request 30 s
    ("connection_limit", 1, 1_000_000),
    ("participant_connection_limit", 1, 1_000_000),
)
_WHOLE: Final = frozenset(
    {
        "port",
        "workers",
        "read_pool_size",
        "write_pool_size",
        "body_limit_bytes",
        "ring_bytes",
        "connection_limit",
        "participant_connection_limit",
    }
)
_LISTED: Final = frozenset({"cors_origin"})
_FRACTIONAL: Final = frozenset({"ring_seconds", "confirm_seconds"})


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def admin_url(given: str | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """The connection string of a role that may create objects, for commands but serve. Raises ConfigError without one.

    Its text is not repeated: it may hold a password. Names are looked up among Postgres's own only: what somebody else
    has put into `public` must not run with an administrator's rights.
    """
    found = given or environment.get(ADMIN_VARIABLE)
    if not found:
        raise ConfigError(
            f"{ADMIN_VARIABLE} is not set; give a connection string of a role that may create objects in your database,"
            " such as postgresql://postgres@localhost/app"
        )
    try:
        options = f"{conninfo_to_dict(found).get('options') or ''} -c search_path=pg_catalog,pg_temp".strip()
        return make_conninfo(found, options=options, client_encoding="UTF8")  # whatever the database's own is
    except ProgrammingError:
        raise ConfigError(
            f"{ADMIN_VARIABLE} (--database-url) is no connection string; give one such as"
            " postgresql://postgres@localhost/app or host=localhost dbname=app user=postgres"
        ) from None


def _spell(name: str) -> str:
    return f"{variable(name)} (--{name.replace('_', '-')})"


def _parse(name: str, text: str) -> Any:
    try:
        if name in _WHOLE:
            return int(text)
        if name in _FRACTIONAL:
            return float(text)
    except ValueError as exc:
        kind = "whole number" if name in _WHOLE else "number"
        raise ConfigError(f"{_spell(name)} is {text!r}, must be a {kind}") from exc
    if name in _LISTED:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return cast(Any, text.strip())
