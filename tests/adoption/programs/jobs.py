"""Procrastinate: a queue of jobs in Postgres, with enumerated types, functions and triggers of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued

from tests.adoption.programs.loop import serve

DSN = sys.argv[1]
logging.disable()  # of jobs that fail as they should
T = TypeVar("T")
loop = asyncio.Runner()
app = App(connector=PsycopgConnector(conninfo=DSN))
done: list[str] = []


@app.task(name="tests.note", queue="notes")
def note(text: str) -> None:
    done.append(text)


@app.task(name="tests.fail", queue="failures", retry=1)
def fail() -> None:
    raise ValueError("as it should")


async def work(*queues: str) -> None:
    """Runs what is to do, and ends."""
    await app.run_worker_async(
        queues=list(queues), wait=False, install_signal_handlers=False, update_heartbeat_interval=60
    )


def run(what: Callable[..., Awaitable[T]]) -> Callable[..., T]:
    return lambda *given: loop.run(_of(what(*given)))


async def _of(coming: Awaitable[T]) -> T:
    return await coming


async def migrate() -> None:
    await app.open_async()
    await app.schema_manager.apply_schema_async()


async def seed() -> None:
    for n in range(50):
        await note.configure(lock=f"l{n % 3}").defer_async(text=f"seed-{n}")
    await work("notes")
    await note.configure(queue="later", priority=7, schedule_in={"days": 3000}).defer_async(text="seed-later")
    async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as connection:
        await connection.execute("ANALYZE")


async def look() -> list[Any]:
    found: list[Any] = []
    queries = (
        "SELECT id, status, attempts, args FROM procrastinate_jobs WHERE args->>'text' LIKE 'seed-%' ORDER BY id",
        "SELECT type, count(*) FROM procrastinate_events WHERE job_id <= 51 GROUP BY type ORDER BY type",
        "SELECT id FROM procrastinate_jobs WHERE queue_name = 'later' AND status = 'todo' ORDER BY priority DESC, id",
        "SELECT count(*) FROM procrastinate_workers",
    )
    async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as connection:
        for query in queries:
            plan = await (await connection.execute(f"EXPLAIN (COSTS OFF) {query}".encode())).fetchall()
            rows = await (await connection.execute(query.encode())).fetchall()
            found.append([[line for (line,) in plan], rows])
    return found


async def exercise() -> list[Any]:
    """Jobs that succeed, fail and are tried again, are refused, wait, and are called off; none stays."""
    said: list[Any] = []
    ids = [await note.defer_async(text=f"works-{n}") for n in range(3)]
    ids.append(await fail.defer_async())
    ids.append(await note.configure(queue="never", queueing_lock="one").defer_async(text="works-never"))
    try:
        await note.configure(queue="never", queueing_lock="one").defer_async(text="works-never")
    except AlreadyEnqueued as error:
        said.append(str(error))
    await work("notes", "failures")
    said.append(await app.job_manager.cancel_job_by_id_async(ids[-1]))
    said.append(sorted(text for text in done if text.startswith("works")))
    done[:] = [text for text in done if not text.startswith("works")]
    for job_id in ids:
        status = await app.job_manager.get_job_status_async(job_id)
        said.append(status.value)
        await app.connector.execute_query_async("DELETE FROM procrastinate_jobs WHERE id = %(id)s", id=job_id)
    return said


async def write(marker: str) -> None:
    """A job of our own, and whatever is in the queue besides."""
    await note.defer_async(text=f"{marker}-own")
    await work("notes")


async def find(marker: str) -> list[str]:
    """The jobs that were done."""
    return sorted(text for text in done if text.startswith(marker))


if __name__ == "__main__":
    serve(**{each.__name__: run(each) for each in (migrate, seed, look, exercise, write, find)})
    loop.run(app.close_async())
