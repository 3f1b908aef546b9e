"""How soon a client has a change after its commit was acknowledged: on an idle server, and while others write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bench.child import module, started
from bench.echo import measure, recvlogical, socket
from bench.harness import Case, Contestant, Direction, Figure, Question, Setting
from bench.world import prepared
from tests.postgres import Database

LOAD_PER_SECOND: Final = 600


def under_load(database: Database, name: str, samples: int) -> Mapping[str, float]:
    """As when idle, with a steady load of updates to the same rows from another process."""
    with started("updates", module("bench.updates", database.dsn, str(LOAD_PER_SECOND))) as load:
        load.wait_ready()
        found = measure(database, {name: _WATCHERS[name]}, samples)[name]
        load.process.terminate()
        return {**found, "load": load.result()["per_second"]}


_WATCHERS: Final = {"pg_recvlogical": recvlogical, "WebSocket": socket}


@contextlib.contextmanager
def cases(setting: Setting) -> Iterator[Sequence[Case]]:
    """Idle and loaded."""
    with prepared(setting.server) as database:

        def idle(name: str) -> Contestant:
            return Contestant(
                name, lambda: {**measure(database, {name: _WATCHERS[name]}, setting.size)[name], "load": 0.0}
            )

        def loaded(name: str) -> Contestant:
            return Contestant(name, lambda: under_load(database, name, setting.size))

        figures = [
            Figure("sent_p50", "ms", 3),
            Figure("acknowledged_p50", "ms", 3),
            Figure("acknowledged_p99", "ms", 3),
            Figure("load", "updates/s"),
        ]
        directions = [Direction("WebSocket", "<=", 2.0)]
        yield [
            Case("idle", figures, [idle(name) for name in _WATCHERS], directions),
            Case(f"{LOAD_PER_SECOND} updates/s", figures, [loaded(name) for name in _WATCHERS], directions),
        ]


QUESTION: Final = Question(
    name="latency",
    asks="How soon does a client have a change after its commit was acknowledged, idle and while others write?",
    method="One commit every 10 to 30 ms; `acknowledged` can be negative, the log is read before the answer is"
    " out, so the ratio is that of `sent`: from the moment COMMIT is sent. Wanted: a p50 of `acknowledged` of at most"
    " 5 ms idle, 10 ms under load.",
    cases=cases,
    size=300,
    rounds=3,
)
