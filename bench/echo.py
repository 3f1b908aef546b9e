"""How soon another process learns of a commit: over a gateway's WebSocket, and from `pg_recvlogical`."""

from __future__ import annotations

import contextlib
import random
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from bench import server
from bench.child import Child, module, started, wait_for_slot
from bench.harness import Case, Contestant, Direction, Figure, Question, Setting
from bench.world import ROWS, create_key, prepared
from pgsync import names
from tests.postgres import Database

PAUSE_SECONDS: Final = (0.010, 0.030)  # idle in between, and in step with nobody's timer
WARM_UP: Final = 20
_WRITE: Final = "SELECT pgsync.write_v1(bench.identity(), %s, 'update', 'tasks', %s, %s::jsonb)"

Watcher = Callable[[Database, str, int], contextlib.AbstractContextManager[Child]]


@contextlib.contextmanager
def socket(database: Database, prefix: str, count: int) -> Iterator[Child]:
    """A WebSocket client of a gateway."""
    key = create_key(database)
    with server.gateway(database) as (_, port):
        arguments = (f"http://{server.HOST}:{port}", key, prefix, str(count))
        with started("watch socket", module("bench.watch", "socket", *arguments)) as child:
            child.wait_ready()
            yield child


@contextlib.contextmanager
def stream(database: Database, prefix: str, count: int) -> Iterator[Child]:
    """Our reader of a slot, alone."""
    conninfo = database.dsn_as(names.LISTENER)
    with (
        slot_of(database) as slot,
        started("watch stream", module("bench.watch", "stream", conninfo, slot, prefix, str(count))) as child,
    ):
        child.wait_ready()
        yield child


@contextlib.contextmanager
def recvlogical(database: Database, prefix: str, count: int) -> Iterator[Child]:
    """`pg_recvlogical` into a pipe."""
    program = str(database.server.program("pg_recvlogical"))
    with (
        slot_of(database) as slot,
        started(
            "watch recvlogical",
            module("bench.watch", "recvlogical", database.dsn, slot, prefix, str(count), program),
        ) as child,
    ):
        child.wait_ready()
        wait_for_slot(database.dsn, slot)
        yield child


@contextlib.contextmanager
def slot_of(database: Database) -> Iterator[str]:
    """A slot that is dropped at the end, whoever still reads from it."""
    name = f"bench_{secrets.token_hex(4)}"
    database.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
    try:
        yield name
    finally:
        database.execute(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
            " WHERE slot_name = %s AND active_pid IS NOT NULL",
            [name],
        )
        database.execute("SELECT pg_drop_replication_slot(%s)", [name])


def measure(database: Database, watchers: Mapping[str, Watcher], samples: int) -> dict[str, dict[str, float]]:
    """Commits one change at a time; for each watcher, how long after COMMIT was sent and after it was acknowledged."""
    prefix = f"echo{secrets.token_hex(3)}x"
    count = WARM_UP + samples
    sent: dict[str, int] = {}
    acknowledged: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        children = {name: stack.enter_context(watcher(database, prefix, count)) for name, watcher in watchers.items()}
        with database.connect(names.GATEWAY, autocommit=False) as connection:
            for number in range(count):
                time.sleep(random.uniform(*PAUSE_SECONDS))
                value = f"{prefix}{number:06}"
                body = f'{{"data": {{"title": "{value}"}}}}'
                connection.execute(_WRITE, [value, str(random.randint(1, ROWS)), body])
                sent[value] = time.monotonic_ns()
                connection.commit()
                acknowledged[value] = time.monotonic_ns()
        seen = {name: child.result() for name, child in children.items()}
    counted = list(sent)[WARM_UP:]
    return {
        name: {
            **_percentiles("sent", [times[value] - sent[value] for value in counted]),
            **_percentiles("acknowledged", [times[value] - acknowledged[value] for value in counted]),
        }
        for name, times in seen.items()
    }


def _percentiles(name: str, nanoseconds: Sequence[int]) -> dict[str, float]:
    values = sorted(n / 1e6 for n in nanoseconds)
    return {f"{name}_p50": statistics.median(values), f"{name}_p99": values[len(values) * 99 // 100]}


@contextlib.contextmanager
def cases(setting: Setting) -> Iterator[Sequence[Case]]:
    """Each watcher alone."""
    with prepared(setting.server) as database:

        def contestant(name: str, watcher: Watcher, note: str) -> Contestant:
            def alone() -> Mapping[str, float]:
                return measure(database, {name: watcher}, setting.size)[name]

            return Contestant(name, alone, note)

        yield [
            Case(
                name="idle",
                figures=[
                    Figure("acknowledged_p50", "ms", 3),
                    Figure("acknowledged_p99", "ms", 3),
                    Figure("sent_p50", "ms", 3),
                    Figure("sent_p99", "ms", 3),
                ],
                contestants=[
                    contestant("pg_recvlogical", recvlogical, "until its output is read from the pipe"),
                    contestant("slot reader", stream, "our reader of a slot: whole transaction decoded, row as JSON"),
                    contestant("WebSocket", socket, "through `pgsync serve`: until the client has received the frame"),
                ],
                directions=[Direction("WebSocket", "<=", 2.0)],
            )
        ]


QUESTION: Final = Question(
    name="echo",
    asks="How soon does another process learn of a commit, against the moment `pg_recvlogical -f -` prints it?",
    method="One commit every 10 to 30 ms, each watcher alone. `acknowledged`: from the answer to COMMIT, of which"
    " the ratio is taken; it can be negative, the log is read before the answer is out. `sent`: from the moment"
    " COMMIT is sent, so the flush of the log is in it, which is the same for all.",
    cases=cases,
    size=300,
)
