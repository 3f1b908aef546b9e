"""Fixtures of every folder: the server of the run, and a database of each test's own.

`--postgres` chooses the server; a test never knows which one it got, except by `server.major`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests import postgres


def pytest_addoption(parser: pytest.Parser) -> None:
    oracle = parser.getgroup("oracle", "tests/oracle")
    oracle.addoption("--oracle-seed", type=int, metavar="N", help="run this seed alone")
    oracle.addoption("--oracle-workers", type=int, default=1, metavar="W", help="one of the gateways has so many")
    oracle.addoption("--oracle-steps", type=int, metavar="M", help="run so many steps, and say what was done")
    parser.addoption(
        "--postgres", default=postgres.DEFAULT, metavar="SERVER", help=f"run on {postgres.CHOICES} (default: embedded)"
    )
    parser.addoption(
        "--race-rounds", type=int, metavar="N", help="rounds of each race (default: as many as cost a few seconds)"
    )
    parser.addoption("--rules", type=int, metavar="N", help="so many read rules for both engines, on many rows")
    parser.addoption("--rules-seed", type=int, default=1, metavar="S", help="which ones")
    parser.addoption(
        "--all-changes", action="store_true", help="every kind of change of a schema on empty, filled and busy tables"
    )


LONG = ("--oracle-steps", "--race-rounds", "--rules", "--all-changes")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Whoever asks for a long form waits for it."""
    if config.option.timeout is None and any(config.getoption(name) for name in LONG):
        config.option.timeout = 0


def pytest_report_header(config: pytest.Config) -> str:
    return f"postgres: {postgres.describe(config.getoption('--postgres'))}"


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A command that a test runs in this process chooses level and form of the log for that test alone."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[postgres.Server]:
    """The run's server, started when the first test asks for it."""
    with postgres.run_server(request.config.getoption("--postgres")) as running:
        yield running


@pytest.fixture
def database(server: postgres.Server) -> Iterator[postgres.Database]:
    """An empty database of this test's own; it and its slots are dropped at the end."""
    with server.lend() as created:
        yield created
