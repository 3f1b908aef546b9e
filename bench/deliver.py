"""How fast changes reach subscribers: from the first write to the last change at the last of them."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench import server
from bench.child import module, started, wait_for_slot
from bench.echo import slot_of
from bench.harness import Case, Contestant, Direction, Figure, Question, Setting
from bench.world import SQL, create_key, prepared
from tests.postgres import Database

MANY: Final = 1000
_PRELUDE: Final = "SET synchronous_commit = off; ALTER TABLE public.tasks {} TRIGGER USER"


@dataclass(frozen=True, slots=True)
class Workload:
    """Changes of rows that every concerned subscriber sees. `procedure` makes them, with or without our triggers."""

    name: str
    procedure: str
    changes: int
    triggers: bool = False


def write(database: Database, workload: Workload, prefix: str) -> tuple[int, float]:
    """Makes the changes; when the first was sent, and how many seconds they took."""
    with database.connect() as connection:
        connection.execute(_PRELUDE.format("ENABLE" if workload.triggers else "DISABLE"))
        begun = time.monotonic_ns()
        connection.execute(f"CALL bench.{workload.procedure}(%s, %s)", [prefix, workload.changes])
        return begun, (time.monotonic_ns() - begun) / 1e9


def figures_of(changes: int, begun_ns: int, finished_ns: int, written: float, **more: float) -> dict[str, float]:
    seconds = (finished_ns - begun_ns) / 1e9
    return {"changes": changes / seconds, "written": changes / written, **more}


def by_gateway(database: Database, workload: Workload, subscribers: int, others: int) -> Mapping[str, float]:
    """One gateway process, the subscribers in another."""
    key, other = create_key(database), create_key(database, organization="others")
    prefix = f"d{secrets.token_hex(3)}x"
    with server.gateway(database) as (gateway, port):
        url = f"http://{server.HOST}:{port}"
        numbers = (str(subscribers), other, str(others), str(workload.changes))
        with started("subscribe", module("bench.subscribe", url, key, *numbers)) as child:
            child.wait_ready()
            used = gateway.cpu_seconds()
            begun, written = write(database, workload, prefix)
            finished = child.result()["finished_ns"]
            cpu = (gateway.cpu_seconds() - used) / workload.changes * 1e6
    return figures_of(workload.changes, begun, finished, written, cpu=cpu)


def by_recvlogical(database: Database, workload: Workload) -> Mapping[str, float]:
    """`pg_recvlogical` into a pipe from which the bytes are read and thrown away, until the last value comes."""
    prefix = f"d{secrets.token_hex(3)}x"
    program = str(database.server.program("pg_recvlogical"))
    last = f"{prefix}{workload.changes:06}"
    with slot_of(database) as slot:
        command = module("bench.drain", database.dsn, slot, last, program)
        with started("pg_recvlogical", command) as child:
            child.wait_ready()
            wait_for_slot(database.dsn, slot)
            begun, written = write(database, workload, prefix)
            finished = child.result()["finished_ns"]
    return figures_of(workload.changes, begun, finished, written, cpu=0.0)


@contextlib.contextmanager
def cases(setting: Setting) -> Iterator[Sequence[Case]]:
    """Two workloads, each with few and many subscribers, and what it is with the triggers of a direct write."""
    with prepared(setting.server) as database:
        database.execute((SQL / "deliver.sql").read_text())
        size = setting.size
        many = MANY if size >= MANY else 20  # a tiny run has a tiny crowd
        few = Workload("one-row transactions", "update_one_by_one", size)
        bulk = Workload("transactions of 1,000", "update_in_bulk", max(size * 5 // 2 // 1000, 1) * 1000)
        recorded = replace(few, name="one-row transactions, with triggers", triggers=True)

        def gateway(workload: Workload, subscribers: int, others: int = 0) -> Contestant:
            name = f"{subscribers:,} of {subscribers + others:,}" if others else f"{subscribers:,}"
            note = "subscribers that see every change" + (", others connected beside them" if others else "")
            return Contestant(name, lambda: by_gateway(database, workload, subscribers, others), note)

        def case(workload: Workload, *gateways: Contestant) -> Case:
            drain = Contestant(
                "pg_recvlogical", lambda: by_recvlogical(database, workload), "until its pipe has the last value"
            )
            return Case(
                name=f"{workload.changes:,} changes in {workload.name}",
                figures=[Figure("changes", "changes/s"), Figure("written", "written/s"), Figure("cpu", "µs/change", 1)],
                contestants=[drain, *gateways],
                directions=[Direction(each.name, ">=", 0.4) for each in gateways if each.name != f"{many:,}"],
            )

        yield [
            *(
                case(each, gateway(each, 1), gateway(each, 10), gateway(each, many), gateway(each, 1, many))
                for each in (few, bulk)
            ),
            case(recorded, gateway(recorded, 1)),
        ]


QUESTION: Final = Question(
    name="deliver",
    asks="How fast do changes reach 1, 10 and 1,000 subscribers, and what do those cost whom no change concerns?",
    method="From the first write to the last change at the last subscriber, which checks that every change came,"
    " once and in order. Written by one session with `synchronous_commit = off` and without our triggers, so that the"
    " writer is no bound (`written`: its own rate; a direct write with them is the last case). `cpu` is that of the"
    " gateway per change. Wanted: 15,000 changes/s one by one, 60,000 in bulk, and a cost that does not grow with those"
    " who are not concerned.",
    cases=cases,
    size=20_000,
    rounds=3,
)
