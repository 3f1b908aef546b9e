"""What a confirmed commit costs over HTTP, against FastAPI, uvicorn and asyncpg with the bare UPDATE."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from bench import server
from bench.child import Child, module, started
from bench.harness import Case, Contestant, Direction, Figure, Question, Setting
from bench.world import create_key, prepared
from tests.postgres import Database

CONNECTIONS: Final = (1, 16, 64)
WARM_UP_SECONDS: Final = 1.0


def with_pgsync(database: Database, key: str, connections: int, seconds: float) -> Mapping[str, float]:
    """`PATCH /api/v1/models/tasks/{id}`, answered when the gateway has seen the commit in the log."""
    with server.gateway(database) as (child, port):
        return _load(
            child,
            port,
            connections,
            seconds,
            path="/api/v1/models/tasks/{id}",
            body='{"data": {"title": "title {number}"}}',
            headers={"Authorization": f"Bearer {key}", "Ablo-Protocol-Version": "1"},
            expect='"status":"confirmed"',
        )


def with_fastapi(database: Database, connections: int, seconds: float) -> Mapping[str, float]:
    """`PATCH /tasks/{id}`, answered with the updated row."""
    with server.fastapi(database) as (child, port):
        return _load(
            child,
            port,
            connections,
            seconds,
            path="/tasks/{id}",
            body='{"title": "title {number}"}',
            headers={},
            expect='"title":"title ',
        )


def _load(child: Child, port: int, connections: int, seconds: float, **request: Any) -> dict[str, float]:
    plan = {"host": server.HOST, "port": port, "connections": connections, "seconds": seconds, **request}
    plan["warm_up_seconds"] = min(WARM_UP_SECONDS, seconds)
    used = child.cpu_seconds()
    with started("load_http", module("bench.load_http", json.dumps(plan))) as load:
        found: dict[str, float] = load.result()
        used = child.cpu_seconds() - used
    found["server_cpu"] = used / (seconds + plan["warm_up_seconds"]) * 100
    return found


@contextlib.contextmanager
def cases(setting: Setting) -> Iterator[Sequence[Case]]:
    """The same two servers with 1, 16 and 64 connections."""
    with prepared(setting.server) as database:
        key = create_key(database)
        yield [
            Case(
                name=f"{connections} connection{'s' if connections > 1 else ''}",
                figures=[
                    Figure("requests", "per s"),
                    Figure("p50", "ms", 1),
                    Figure("p99", "ms", 1),
                    Figure("server_cpu", "% of a core"),
                    Figure("load_cpu", "% of a core"),
                ],
                contestants=[
                    Contestant(
                        "FastAPI",
                        partial(with_fastapi, database, connections, setting.seconds),
                        "one uvicorn worker with uvloop and httptools, asyncpg: UPDATE .. RETURNING, no authentication",
                    ),
                    Contestant(
                        "pgsync",
                        partial(with_pgsync, database, key, connections, setting.seconds),
                        "one gateway: authenticated, idempotent, recorded, confirmed by the log",
                    ),
                ],
                directions=[Direction("pgsync", ">=", 1.3)],
            )
            for connections in CONNECTIONS
        ]


QUESTION: Final = Question(
    name="http",
    asks="How many confirmed commits per second does a gateway take, against a usual API with a bare UPDATE?",
    method="Keep-alive connections, one request after another on each; every request changes the title of a random row"
    " of 1,000. Each server runs alone, started for the measurement and warmed up.",
    cases=cases,
)
