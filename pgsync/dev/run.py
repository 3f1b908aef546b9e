"""`pgsync dev`: starts Postgres, installs, pushes, serves, and pushes again whenever the schema is saved.

Everything started here ends here, in the opposite order, whether by Ctrl-C, SIGTERM or an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from pgsync import keys, log, names
from pgsync.config import ConfigError, GatewayConfig
from pgsync.dev import sample, state
from pgsync.dev.embedded import EmbeddedPostgres, program_version
from pgsync.dev.state import DevState
from pgsync.gateway import process, serve
from pgsync.gateway.schema import SchemaPush
from pgsync.log import Event
from pgsync.push import PushResult, Wishes, breaks_of_wire, install, push, schema_of_wire, wishes_of_wire
from pgsync.schema import Schema, load_schema

HOST: Final = "127.0.0.1"
PORT: Final = 8080
DATABASE: Final = "app"
DEPLOYMENT: Final = "dev"
ORGANIZATION: Final = "org_dev"

_SETTINGS: Final[Mapping[str, str]] = {
    "max_slot_wal_keep_size": "1GB",  # a demo left alone must not fill the disk
    "log_min_messages": "warning",
}

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: the terminal was closed

_ANYTHING: Final = Wishes(migrate=True, force=True)

Report = Callable[[BaseException], None]
"""Tells the person at the terminal what went wrong, and goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevOptions:
    """`source` is the schema as `load_schema` takes it, or None to wait for one over HTTP. `port` None: a usual one."""

    source: str | None
    data: Path
    port: int | None = None


@dataclass(slots=True)
class Dev:
    """One running `pgsync dev`. `say` prints a line, `report` an error that does not end the run."""

    options: DevOptions
    say: Callable[[str], None]
    report: Report
    _pushing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _state: DevState = field(init=False)
    _postgres: EmbeddedPostgres = field(init=False)

    def run(self) -> None:
        """Runs until a signal to stop. Raises what keeps it from starting."""
        declared = load_schema(self.options.source) if self.options.source is not None else None
        directory = self.options.data.expanduser().absolute()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n")
        before = state.read(directory)
        port = _choose_port(self.options.port, before)
        self._postgres = EmbeddedPostgres(
            directory / "postgres",
            tcp_port=_free_port(before.database_port if before is not None else None),
            password=(before.password if before is not None else None) or secrets.token_urlsafe(18),
            settings=_SETTINGS,
        )
        with _terminating(), self._postgres:
            admin = self._postgres.dsn(DATABASE)
            _create_database(self._postgres)
            install(admin)
            self._state = DevState(
                url=f"http://{HOST}:{port}",
                database_url=self._postgres.tcp_dsn(DATABASE),
                secret_key=_ensure_key(admin, before.secret_key if before is not None else None),
                organization_id=ORGANIZATION,
            )
            process.tune_collector()
            with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
                runner.run(self._main(declared, directory))

    async def _main(self, declared: Schema | None, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        try:
            if declared is not None:
                await self._push(declared)
            config = GatewayConfig(
                database_url=self._postgres.dsn(DATABASE, role=names.GATEWAY),
                listener_url=self._postgres.dsn(DATABASE, role=names.LISTENER),
                host=HOST,
                port=int(self._state.url.rpartition(":")[2]),
                deployment=DEPLOYMENT,
                cors_origin=("*",),  # the page that is being developed comes from a server of its own
            )
            async with serve(config, receive_schema=self._receive), self._watching(stop):
                path = state.write(directory, self._state)
                self._greet(path, declared)
                await stop.wait()
                self.say("stopping")
        finally:
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)

    async def _push(self, declared: Schema, wishes: Wishes = _ANYTHING) -> PushResult:
        """Applies a schema, tables included; one at a time, and not in the event loop.

        By default models and fields may leave it, as they do while a schema is being written; their data stays.
        """
        async with self._pushing:
            return await asyncio.to_thread(push, self._postgres.dsn(DATABASE), declared, wishes=wishes)

    async def _receive(self, pushed: SchemaPush) -> Mapping[str, Any]:
        """A schema that came over `POST /api/schema` takes effect at once."""
        declared = schema_of_wire(pushed.document)
        wishes = wishes_of_wire(pushed.options, migrate=True)
        broken = breaks_of_wire(declared, pushed.active, pushed.options)
        result = await self._push(declared, wishes)
        log.emit(Event.SCHEMA_PUSHED, version=result.version, hash=result.hash)
        if not result.changed:
            return {"version": result.version, "hash": result.hash, "unchanged": True}
        self.say(str(result))
        self._show_sample(declared)
        return {
            "version": result.version,
            "hash": result.hash,
            "warnings": [*(str(warning) for warning in declared.resolved.warnings), *broken],
        }

    @asynccontextmanager
    async def _watching(self, stop: asyncio.Event) -> AsyncIterator[None]:
        if self.options.source is None:
            yield
            return
        task = asyncio.create_task(self._push_on_save(self.options.source, stop), name="push on save")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _push_on_save(self, source: str, stop: asyncio.Event) -> None:
        from watchfiles import awatch

        file = _file_of(source)
        if file is None:
            return
        suffix = file.suffix
        async for _ in awatch(
            file.parent, watch_filter=lambda _, path: path.endswith(suffix), recursive=False, stop_event=stop
        ):
            try:
                _forget_modules(file.parent)
                result = await self._push(load_schema(source))
            except Exception as exc:  # noqa: BLE001  a schema in the middle of an edit must not end the run
                self.report(exc)
            else:
                self.say(f"pushed {source}: {result}")

    def _greet(self, path: Path, declared: Schema | None) -> None:
        version = program_version(self._postgres.bin_dir)
        self.say(f"pgsync is running at {self._state.url} on PostgreSQL {version}; Ctrl-C stops both.")
        self.say(f"Keys and URLs are in {path}, the data in {self._postgres.data_dir}.")
        if declared is None:
            self.say(f"Waiting for a schema: POST it to {self._state.url}/api/schema with the secret key.")
            self.say(f"The secret key is {self._state.secret_key}")
        else:
            self._show_sample(declared)

    def _show_sample(self, declared: Schema) -> None:
        lines = sample.sample(
            declared.resolved,
            url=self._state.url,
            secret_key=self._state.secret_key,
            database_url=self._state.database_url,
            psql="psql" if shutil.which("psql") else str(self._postgres.bin_dir / "psql"),
            token=secrets.token_hex(4),
        )
        if lines is None:
            return
        self.say("\nCreate a row, update it, and update it with plain SQL:\n")
        for line in (lines.create, lines.update, lines.update_by_sql):
            self.say(f"{line}\n")


@contextlib.contextmanager
def _terminating() -> Iterator[None]:
    """Outside of the event loop a signal ends us as Ctrl-C does, by an exception, so that Postgres is stopped too."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _choose_port(given: int | None, before: DevState | None) -> int:
    """The port that was asked for, else the last run's or the usual one, else any free one."""
    if given is not None:
        if given != 0 and not _is_free(given):
            raise ConfigError(f"port {given} is in use; choose another with --port, or --port 0 for a free one")
        return given or _free_port(None)
    for port in (before.port if before is not None else None, PORT):
        if port is not None and _is_free(port):
            return port
    return _free_port(None)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port(wished: int | None) -> int:
    if wished is not None and _is_free(wished):
        return wished
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _create_database(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _ensure_key(dsn: str, wished: str | None) -> str:
    """The secret key of an earlier run if the database knows it or can learn it, else a new one."""
    with psycopg.connect(dsn) as connection:
        if wished is not None and keys.is_wellformed(wished):
            known = connection.execute("SELECT pgsync.authenticate_v1(%s)", [keys.digest(wished)]).fetchone()
            if known is not None and known[0] is not None and known[0]["status"] == "active":
                return wished
        key = keys.generate("sk")
        request = {
            "keyHash": keys.digest(key).hex(),
            "keyKind": "sk",
            "organizationId": ORGANIZATION,
            "participantKind": "system",
            "participantId": "dev",
            "label": "pgsync dev",
        }
        connection.execute("SELECT pgsync.create_credential_v1(%s)", [Jsonb(request)])
        return key


def _file_of(source: str) -> Path | None:
    """The file whose folder is watched."""
    place = source if Path(source).exists() else source.partition(":")[0]
    if place.endswith((".py", ".json")):
        return Path(place).resolve()
    found = importlib.util.find_spec(place)
    return Path(found.origin).resolve() if found is not None and found.origin is not None else None


def _forget_modules(folder: Path) -> None:
    """What the schema imports from its own folder is to be read again too."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).parent == folder and not name.startswith("pgsync."):
            del sys.modules[name]
