"""Random writers and random subscribers on real parts, judged step by step against what really happened.

`--oracle-seed` and `--oracle-steps` choose a run; without them a few short ones are made.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pgsync.dev.embedded import EmbeddedPostgres
from tests import postgres
from tests.oracle.driver import Run

SEEDS = (1, 7)
STEPS = 50


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = metafunc.config.getoption("--oracle-seed")
    metafunc.parametrize("seed", SEEDS if given is None else [given])


async def test_subscribers_see_what_exists_in_order_and_nothing_else_whatever_happens(
    seed: int,
    request: pytest.FixtureRequest,
    crashable: tuple[EmbeddedPostgres, postgres.Server],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    embedded, server = crashable
    steps = request.config.getoption("--oracle-steps")
    database = server.create_database()
    begun = time.monotonic()
    workers = (1, request.config.getoption("--oracle-workers"))
    run = Run(seed, database, embedded, tmp_path, hazards=True, workers=workers, is_long=bool(steps))
    try:
        async with run.running():
            await run.steps(steps or STEPS)
    finally:
        database.drop()
    assert run.counts.deltas > 0
    assert run.counts.states > 0
    if steps:
        with capsys.disabled():
            print(f"\nseed {seed}: {run.tally}\n{run.counts}\n{time.monotonic() - begun:.0f} s")  # noqa: T201
