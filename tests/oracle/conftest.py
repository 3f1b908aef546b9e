"""Options and servers of the oracle test.

The long form: `pytest -n0 tests/oracle --oracle-seed 1 --oracle-steps 2000`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgsync.dev.embedded import EmbeddedPostgres
from tests import postgres
from tests.oracle.servers import SETTINGS


@pytest.fixture(scope="module")
def crashable(server: postgres.Server) -> Iterator[tuple[EmbeddedPostgres, postgres.Server]]:
    """A server that a test may crash."""
    with postgres.own_server(server, **SETTINGS) as started:
        yield started
