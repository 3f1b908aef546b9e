"""The Postgres servers that tests and benchmarks run on: embedded, Debian's, in a container, or one that exists.

A server is a cluster of its own, started for one run and thrown away; a `Database` in it is fresh for each test.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsync.dev.embedded import NEWEST_VERSION, EmbeddedPostgres, bundled_bin_dir, program_version

DEFAULT: Final = "embedded"
CHOICES: Final = (
    "embedded | embedded16 | embedded18 | debian15 | docker | a directory of programs, /..../bin | "
    "a connection string of a superuser"
)
CONTAINER_IMAGE: Final = "postgres:17"
SLOT_RELEASE_SECONDS: Final = 10.0
# What must be free for servers in memory. Generous: each may keep a gigabyte of log, and tests need memory themselves.
MEMORY_BYTES: Final = 12 << 30

# Enough for many gateways in one run.
DURABLE_SETTINGS: Final[Mapping[str, str]] = {
    "max_replication_slots": "60",
    "max_wal_senders": "60",
    "max_connections": "300",
    "max_locks_per_transaction": "256",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "timezone": "UTC",
    "log_min_messages": "warning",
}
# No waiting for a disk whose content is thrown away.
SETTINGS: Final[Mapping[str, str]] = {**DURABLE_SETTINGS, "fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Server:
    """A running cluster.

    `dsn` is a superuser's, for the database `postgres`. `bin_dir` has the client programs (psql, pgbench, ..) of the
    server's version, None when this machine has none. `trusts_roles`: any role may connect without a password.
    """

    name: str
    version: str
    dsn: str
    bin_dir: Path | None = None
    trusts_roles: bool = False

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} ({self.name})"

    @property
    def major(self) -> int:
        """The major version, for the few promises that depend on it."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    @property
    def is_ours(self) -> bool:
        """Whether this run has started it, so that a test may change settings of the whole server."""
        return self.trusts_roles

    def program(self, name: str) -> Path:
        """The path of a client program such as `psql`; raises FileNotFoundError when this machine has none."""
        if self.bin_dir is not None and (self.bin_dir / name).exists():
            return self.bin_dir / name
        found = shutil.which(name)
        if found is None:
            raise FileNotFoundError(f"no program {name} for {self}")
        return Path(found)

    def create_database(self, *, template: str | None = None) -> Database:
        """A new database with a name of its own, copied from `template` when one is given."""
        name = f"test_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)
        return Database(server=self, name=name)

    @contextlib.contextmanager
    def lend(self, *, template: Database | None = None) -> Iterator[Database]:
        """A new database, empty or a copy of `template`, that is dropped when the block ends."""
        database = self.create_database(template=None if template is None else template.name)
        try:
            yield database
        finally:
            database.drop()


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one test's own. Roles are the cluster's: those of pgsync are shared between databases."""

    server: Server
    name: str
    _passwords: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def dsn(self) -> str:
        """A connection string of the superuser."""
        return make_conninfo(self.server.dsn, dbname=self.name)

    @property
    def url(self) -> str:
        """`dsn` as a URL, for what takes nothing else."""
        return self._url(self.dsn)

    def dsn_as(self, role: str) -> str:
        """A connection string of another role, which must exist and may LOGIN."""
        if self.server.trusts_roles:
            return make_conninfo(self.dsn, user=role, password=None)
        if role not in self._passwords:
            password = str(conninfo_to_dict(self.server.dsn).get("password") or secrets.token_hex(8))
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
                )
            self._passwords[role] = password
        return make_conninfo(self.dsn, user=role, password=self._passwords[role])

    def url_as(self, role: str) -> str:
        """`dsn_as` as a URL."""
        return self._url(self.dsn_as(role))

    def connect(self, role: str | None = None, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection of the superuser or of `role`; each statement its own transaction unless told otherwise."""
        return psycopg.connect(self.dsn if role is None else self.dsn_as(role), autocommit=autocommit)

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Runs SQL as the superuser in a connection of its own and returns the rows, if it returns any.

        Without parameters the text may hold several statements.
        """
        with self.connect() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description is not None else []

    def drop(self) -> None:
        """Drops the database, whoever is connected to it and whatever slots read it."""
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            deadline = time.monotonic() + SLOT_RELEASE_SECONDS
            while slots := connection.execute(
                "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", [self.name]
            ).fetchall():
                for slot_name, active_pid in slots:
                    if active_pid is not None:
                        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [active_pid])
                    with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
                        connection.execute("SELECT pg_drop_replication_slot(%s)", [slot_name])
                if time.monotonic() > deadline:
                    raise TimeoutError(f"slots of {self.name} are still in use: {slots}")
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))

    @staticmethod
    def _url(dsn: str) -> str:
        parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
        user, password = quote(parts.pop("user", ""), safe=""), quote(parts.pop("password", ""), safe="")
        host, port, dbname = parts.pop("host", ""), parts.pop("port", ""), quote(parts.pop("dbname", ""), safe="")
        authority = (f"{user}:{password}@" if password else f"{user}@") if user else ""
        if host.startswith("/"):
            parts |= {"host": host} | ({"port": port} if port else {})
        else:
            authority += host + (f":{port}" if port else "")
        return f"postgresql://{authority}/{dbname}" + (f"?{urlencode(parts)}" if parts else "")


@contextlib.contextmanager
def run_server(choice: str = DEFAULT, *, settings: Mapping[str, str] = SETTINGS) -> Iterator[Server]:
    """Starts the server that `choice` names (see CHOICES), and ends it when the block does.

    A server that exists keeps its own settings.
    """
    match choice:
        case "embedded":
            context = _start(choice, bundled_bin_dir(NEWEST_VERSION), settings)
        case "embedded16" | "embedded18":
            context = _start(choice, bundled_bin_dir(int(choice.removeprefix("embedded"))), settings)
        case "docker":
            context = _start_container(settings)
        case _ if re.fullmatch(r"debian\d+", choice):
            context = _start(choice, _debian_bin_dir(choice), settings)
        case _ if choice.startswith("/"):
            context = _start(choice, _any_bin_dir(choice), settings)
        case _ if "://" in choice or "=" in choice:
            context = _use(choice)
        case _:
            raise ValueError(f"unknown server {choice!r}; there are {CHOICES}")
    with context as server:
        yield server


def describe(choice: str) -> str:
    """What `choice` will run on, without starting it where that is possible."""
    match choice:
        case "embedded":
            return f"PostgreSQL {program_version(bundled_bin_dir(NEWEST_VERSION))} ({choice})"
        case "embedded16" | "embedded18":
            return f"PostgreSQL {program_version(bundled_bin_dir(int(choice.removeprefix('embedded'))))} ({choice})"
        case "docker":
            return f"{CONTAINER_IMAGE} (docker)"
        case _ if re.fullmatch(r"debian\d+", choice):
            return f"PostgreSQL {program_version(_debian_bin_dir(choice))} ({choice})"
        case _ if choice.startswith("/"):
            return f"PostgreSQL {program_version(_any_bin_dir(choice))} ({choice})"
        case _:
            with _use(choice) as server:
                return str(server)


def _debian_bin_dir(choice: str) -> Path:
    version = choice.removeprefix("debian")
    bin_dir = Path(f"/usr/lib/postgresql/{version}/bin")
    if not (bin_dir / "postgres").exists():
        raise FileNotFoundError(f"{bin_dir} has no Postgres: apt-get install postgresql-{version}")
    return bin_dir


def _any_bin_dir(choice: str) -> Path:
    bin_dir = Path(choice)
    if missing := [name for name in ("initdb", "postgres") if not (bin_dir / name).exists()]:
        raise FileNotFoundError(f"{bin_dir} has no {' and no '.join(missing)}; give the bin directory of a Postgres")
    return bin_dir


@contextlib.contextmanager
def server_home(*, in_memory: bool = True) -> Iterator[Path]:
    """A new directory for the data of servers that are thrown away, removed when the block ends.

    In memory where there is plenty: each test makes a database, and a new one is ten times faster there. `in_memory`:
    False for what is measured with a disk.
    """
    # never TMPDIR: a socket's path must be short, and the server's user must be able to reach it
    parent = "/dev/shm" if in_memory and _is_memory_plenty() else "/tmp"
    home = Path(tempfile.mkdtemp(prefix="pgsync-test-", dir=parent))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _is_memory_plenty() -> bool:
    try:
        free = os.statvfs("/dev/shm")
        available = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return False
    return (
        os.access("/dev/shm", os.W_OK)
        and free.f_bavail * free.f_frsize >= MEMORY_BYTES
        and available is not None
        and int(available[1]) << 10 >= MEMORY_BYTES
    )


@contextlib.contextmanager
def own_server(server: Server, **settings: str) -> Iterator[tuple[EmbeddedPostgres, Server]]:
    """A server that a test may crash, made from the programs of `server`, which stays as it is."""
    with server_home() as home, _started("own", home, server.bin_dir or bundled_bin_dir(), settings) as started:
        yield started


@contextlib.contextmanager
def _start(name: str, bin_dir: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    with server_home(in_memory=settings.get("fsync") == "off") as home, _started(name, home, bin_dir, settings) as made:
        yield made[1]


@contextlib.contextmanager
def _started(
    name: str, home: Path, bin_dir: Path, settings: Mapping[str, str]
) -> Iterator[tuple[EmbeddedPostgres, Server]]:
    embedded = EmbeddedPostgres(home / "data", bin_dir, settings=settings)
    try:
        embedded.start()
        version = program_version(embedded.bin_dir)
        yield embedded, Server(name, version, embedded.dsn(), embedded.bin_dir, trusts_roles=True)
    finally:
        embedded.stop(immediately=True)


@contextlib.contextmanager
def _start_container(settings: Mapping[str, str]) -> Iterator[Server]:
    from testcontainers.community.postgres import PostgresContainer

    settings = {"wal_level": "logical", **settings}
    container = PostgresContainer(
        CONTAINER_IMAGE, username="postgres", password="postgres", dbname="postgres", driver=None
    )
    container.with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
    container.with_command(
        ["postgres", *(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))]
    )
    with container:
        dsn = container.get_connection_url()
        with _use(dsn) as server:
            yield Server("docker", server.version, dsn, server.bin_dir, trusts_roles=True)


@contextlib.contextmanager
def _use(dsn: str) -> Iterator[Server]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        version, wal_level, superuser = connection.execute(
            "SELECT current_setting('server_version'), current_setting('wal_level'), current_setting('is_superuser')"
        ).fetchone() or ("", "", "")
    if wal_level != "logical" or superuser != "on":
        raise RuntimeError("the server of --postgres must run with wal_level=logical and be given as a superuser")
    parts = conninfo_to_dict(dsn)
    debian = Path(f"/usr/lib/postgresql/{str(version).split('.')[0]}/bin")
    yield Server(
        name=f"{parts.get('host') or os.environ.get('PGHOST', 'local')}:{parts.get('port') or 5432}",
        version=str(version).split(" ")[0],
        dsn=dsn,
        bin_dir=debian if debian.exists() else None,
    )
