"""What a gateway needs of memory, and others of patience, while very much passes through it."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from bench import server
from bench.child import module, started
from bench.harness import Case, Contestant, Direction, Figure, Question, Setting
from bench.world import SQL, create_key, prepared
from pgsync import names
from tests.postgres import SLOT_RELEASE_SECONDS, Database

QUIET_SECONDS: Final = 5.0
LARGE_ROWS: Final = 100
_MEBIBYTE: Final = 1 << 20
_HUGE: Final = "UPDATE public.tasks SET title = %s WHERE organization_id = 'acme' AND id LIKE 'huge%%'"
# A hundred values of 10 kB, which Postgres stores compressed and sends whole.
_LARGE: Final = (
    "UPDATE public.tasks SET title = repeat(md5(id || %s), 320) WHERE organization_id = 'acme' AND id LIKE 'large%%'"
)

Write = Callable[[Database], None]


def beside(
    database: Database, write: Write, changes: int, *, stuck: bool = False, restarted: bool = False
) -> Mapping[str, float]:
    """One gateway process and its clients in another, while `write` makes changes that one of them has to receive.

    `restarted`: another gateway has been there before, and has left as many changes to those who come back.
    """
    key, other = create_key(database), create_key(database, organization="others")
    deployment = f"memory_{secrets.token_hex(4)}"
    if restarted:
        with server.gateway(database, deployment=deployment):
            write(database)
    with server.gateway(database, deployment=deployment) as (gateway, port):
        url = f"http://{server.HOST}:{port}"
        seconds = "0" if changes else str(QUIET_SECONDS)
        arguments = (url, key, str(changes), other, "1" if stuck else "0", seconds)
        with started("beside", module("bench.beside", *arguments)) as child:
            child.wait_ready()
            begun = time.monotonic_ns()
            write(database)
            result = child.result()
            peak = gateway.peak_bytes() / _MEBIBYTE
    drop_slot(database, names.slot_name(deployment))
    taken = (result["finished_ns"] - begun) / 1e9 if changes else 0.0
    return {"peak": peak, "p50": result["p50"], "p99": result["p99"], "seconds": taken}


def drop_slot(database: Database, name: str) -> None:
    """What a gateway that has ended leaves behind: the next one must not begin by reading it."""
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
    deadline = time.monotonic() + SLOT_RELEASE_SECONDS
    while not database.execute(drop, [name]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"slot {name} is still in use")
        time.sleep(0.05)


@contextlib.contextmanager
def cases(setting: Setting) -> Iterator[Sequence[Case]]:
    """A transaction of `size` rows, and `size` kilobytes past a client that has stopped reading."""
    with prepared(setting.server) as database:
        rows, megabytes = setting.size, max(setting.size // 1000, 1)
        with database.connect() as connection:
            connection.execute((SQL / "memory.sql").read_text().replace("%(rows)s", str(rows)))
        database.execute("VACUUM ANALYZE public.tasks")

        def nothing(_: Database) -> None:
            pass

        def huge(database: Database) -> None:
            database.execute(_HUGE, [f"huge {time.monotonic_ns()}"])

        def flow(database: Database) -> None:
            with database.connect() as connection:
                for number in range(megabytes):
                    connection.execute(_LARGE, [str(number)])

        figures = [
            Figure("peak", "MiB"),
            Figure("p50", "ms", 2),
            Figure("p99", "ms", 2),
            Figure("seconds", "s", 1),
        ]
        large = megabytes * LARGE_ROWS
        yield [
            Case(
                name=f"{rows:,} rows updated in one transaction",
                figures=figures,
                contestants=[
                    Contestant("nothing", lambda: beside(database, nothing, 0), "the same clients while nobody writes"),
                    Contestant("one transaction", lambda: beside(database, huge, rows)),
                    Contestant(
                        "one more after a restart",
                        lambda: beside(database, huge, rows, restarted=True),
                        "the gateway has begun by reading the one before again, for those who come back",
                    ),
                ],
                directions=[Direction("one transaction", "<=", 4.0)],
            ),
            Case(
                name=f"{megabytes:,} MB past a client that has stopped reading",
                figures=figures,
                contestants=[
                    Contestant("all read", lambda: beside(database, flow, large)),
                    Contestant("one does not", lambda: beside(database, flow, large, stuck=True)),
                ],
                directions=[Direction("one does not", "<=", 1.2)],
            ),
        ]


QUESTION: Final = Question(
    name="memory",
    asks="What does a gateway need of memory, and others of patience, while very much passes through it?",
    method="`peak` is the gateway's resident memory at its highest, and what the ratio is of. A client of another"
    " organization pings meanwhile, 10 ms after each answer (`p50`, `p99`); another has to receive every change, in"
    " order (`seconds`, from the beginning of the write). Written without our triggers. Wanted: a peak under 400 MB for"
    " the transaction; and that somebody who does not read leaves memory and the others' latency as they are. What the"
    " gateway keeps for who comes back, 256 MiB of log by default, is in the peak.",
    cases=cases,
    size=1_000_000,
    rounds=3,
)
