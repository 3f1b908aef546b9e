"""The embedded server starts from anything that an earlier run left behind, and leaves nothing running itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgsync.dev.embedded import EmbeddedPostgres, EmbeddedPostgresError, bundled_bin_dir

PATIENCE_SECONDS = 20.0


@pytest.fixture(scope="session")
def initialised() -> Iterator[Path]:
    """A data directory to copy, because making one takes longer than everything else here."""
    with _reachable_directory() as made:
        with EmbeddedPostgres(made / "data"):
            pass
        yield made / "data"


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory that also another user can reach, which pytest's own is not."""
    with _reachable_directory() as made:
        yield made


@pytest.fixture
def data(place: Path, initialised: Path) -> Path:
    """A data directory that has been used before."""
    subprocess.run(["cp", "-a", initialised, place / "data"], check=True)
    return place / "data"


@contextlib.contextmanager
def _reachable_directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pgsync-place-", dir="/tmp"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not {what} within {PATIENCE_SECONDS} s"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc/self").exists() else True


def answer(dsn: str, statement: str = "SELECT 1") -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_data_outlives_the_server(data: Path) -> None:
    with EmbeddedPostgres(data) as first:
        with psycopg.connect(first.dsn(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        pid = first.pid
        assert pid is not None
    assert not is_running(pid)
    with EmbeddedPostgres(data) as second:
        assert answer(second.dsn(), "SELECT n FROM kept") == 42
        assert answer(second.dsn(), "SHOW wal_level") == "logical"


def test_tcp_wants_the_password_and_takes_a_new_one_on_the_next_start(data: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for password in ("first p/w@:?", "second"):
        with EmbeddedPostgres(data, tcp_port=port, password=password) as running:
            assert answer(running.tcp_dsn()) == 1
            with pytest.raises(psycopg.OperationalError, match="password"):
                answer(running.tcp_dsn().replace("postgres:", "postgres:not", 1))


def test_nobody_else_can_reach_the_socket(data: Path) -> None:
    with EmbeddedPostgres(data):
        assert data.stat().st_mode & 0o077 == 0


def test_a_second_owner_is_told_who_the_first_one_is(data: Path) -> None:
    second = EmbeddedPostgres(data)
    taken = pytest.raises(EmbeddedPostgresError, match=f"in use by process {os.getpid()}")
    with EmbeddedPostgres(data), taken:
        second.start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_owner_takes_its_server_along(data: Path) -> None:
    owner, server_pid = start_owner(data)
    owner.kill()
    owner.wait()
    wait_until(lambda: not is_running(server_pid), "stopped")


def test_what_a_killed_owner_left_running_is_taken_over(data: Path) -> None:
    owner, server_pid = start_owner(data, path="/nonexistent")  # no setpriv there, so the server stays
    owner.kill()
    owner.wait()
    assert is_running(server_pid)
    with EmbeddedPostgres(data) as running:
        assert running.pid != server_pid
        assert answer(running.dsn()) == 1
    assert not is_running(server_pid)


def test_a_killed_server_recovers_on_the_next_start(data: Path) -> None:
    first = EmbeddedPostgres(data).start()
    with psycopg.connect(first.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.stop()
    assert (data / "postmaster.pid").exists()
    with EmbeddedPostgres(data) as second:
        assert answer(second.dsn(), "SELECT n FROM kept") == 42


def test_a_first_start_that_was_cut_short_is_begun_again(place: Path) -> None:
    half_made = place / "data.init"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(place / "data") as running:
        assert answer(running.dsn()) == 1


def test_a_directory_of_something_else_is_left_alone(place: Path) -> None:
    (place / "thesis.txt").write_text("three years of work")
    place.chmod(0o777)
    before = place.stat()
    with pytest.raises(EmbeddedPostgresError, match="neither empty nor"):
        EmbeddedPostgres(place).start()
    assert (place / "thesis.txt").read_text() == "three years of work"
    assert place.stat().st_uid == before.st_uid


def test_data_of_another_version_is_refused_by_name(place: Path) -> None:
    with EmbeddedPostgres(place / "data", bundled_bin_dir(16)):
        pass
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 16, this is 18"):
        EmbeddedPostgres(place / "data", bundled_bin_dir(18)).start()


def test_a_server_that_does_not_come_up_shows_its_log(data: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="shared_buffers"):
        EmbeddedPostgres(data, settings={"shared_buffers": "plenty"}).start()


def test_a_path_too_long_for_a_socket_works(place: Path) -> None:
    with EmbeddedPostgres(place / ("deep" * 20) / "data") as running:
        assert answer(running.dsn()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
def test_root_starts_it_where_only_root_can_go(place: Path) -> None:
    place.chmod(0o700)
    with EmbeddedPostgres(place / "data") as running:
        try:
            assert answer(running.dsn()) == 1
            assert running.data_dir.is_relative_to("/var/lib/pgsync")
        finally:
            elsewhere = running.data_dir
    shutil.rmtree(elsewhere)
    elsewhere.with_name(elsewhere.name + ".lock").unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
def test_root_starts_programs_that_only_root_can_read(place: Path) -> None:
    original = bundled_bin_dir().parent
    package = original.parent
    site = place / "site"
    shutil.copytree(original, site / package.name / original.name, symlinks=True)
    shutil.copytree(package.with_name(package.name + ".libs"), site / (package.name + ".libs"), symlinks=True)
    site.chmod(0o700)
    with EmbeddedPostgres(place / "data", site / package.name / original.name / "bin") as running:
        elsewhere = running.bin_dir
        assert elsewhere.is_relative_to("/var/lib/pgsync")
        assert answer(running.dsn()) == 1
    shutil.rmtree(elsewhere.parents[2])


def start_owner(data_dir: Path, *, path: str | None = None) -> tuple[subprocess.Popen[str], int]:
    """A process of its own that starts a server, tells its pid and waits to be killed."""
    program = (
        "import os, signal, sys; from pathlib import Path; from pgsync.dev.embedded import EmbeddedPostgres, _bundle;"
        "server = EmbeddedPostgres(Path(sys.argv[1]));"
        "os.environ['PATH'] = sys.argv[2] or os.environ['PATH'];"
        "print(server.start().pid, flush=True); signal.pause()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, data_dir, path or ""],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert owner.stdout is not None
    with owner.stdout:
        pid = int(owner.stdout.readline())
    return owner, pid
