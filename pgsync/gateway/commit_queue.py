"""The way of single-row commits into the database: alone while there is room, together when they pile up.

Commits that wait for a free lane travel in one transaction and share one flush of the log. One that is refused by
rule leaves its neighbours alone; a database error undoes them all, and each is sent again by itself, which its
idempotency key makes safe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg

from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database

DEFAULT_LANES: Final = 2
DEFAULT_BATCH: Final = 32
MAX_WAITING: Final = 10_000
BATCH_LOCK_TIMEOUT_SECONDS: Final = 0.1
LANE_SECONDS: Final = 0.05

_WRITE = Statement(
    b"SELECT pgsync.write_v1($1::jsonb, $2::text, $3::text, $4::text, $5::text, $6::jsonb, $7::jsonb)", b"write_v1"
)
_BATCH = Statement(b"SELECT pgsync.commit_batch_v1($1::jsonb)", b"commit_batch_v1")
_BEGIN = Statement(b"BEGIN ISOLATION LEVEL READ COMMITTED", b"begin_write")
_LOCK_TIMEOUT = Statement(
    b"SELECT pg_catalog.set_config('lock_timeout', '%dms', true)" % round(BATCH_LOCK_TIMEOUT_SECONDS * 1000),
    b"batch_lock_timeout",
)
_COMMIT = Statement(b"COMMIT", b"commit")


@dataclass(frozen=True, slots=True)
class RowCommit:
    """One single-row commit as `pgsync.write_v1` takes it; `identity`, `body` and `evidence` are JSON text.

    `organization` is the identity's.
    """

    organization: str
    identity: bytes
    key: str
    action: str
    model: str
    row_id: str | None
    body: bytes
    evidence: bytes | None

    def call(self) -> Call:
        """The call of the commit by itself."""
        return Call(
            _WRITE,
            (
                self.identity,
                self.key.encode(),
                self.action.encode(),
                self.model.encode(),
                None if self.row_id is None else self.row_id.encode(),
                self.body,
                self.evidence,
            ),
        )

    def item(self) -> bytes:
        """The commit as an element of a batch; the JSON that came is put in as it is."""
        return b"".join(
            (
                b'{"identity":',
                self.identity,
                b',"key":',
                orjson.dumps(self.key),
                b',"action":',
                orjson.dumps(self.action),
                b',"model":',
                orjson.dumps(self.model),
                b',"id":',
                orjson.dumps(self.row_id),
                b',"body":',
                self.body,
                b',"evidence":',
                b"null" if self.evidence is None else self.evidence,
                b"}",
            )
        )


class QueueFullError(Exception):
    """More commits wait than the queue holds."""


class _Lane:
    """A place among those who send at once, given back when the answer is there or is long in coming.

    A commit that waits for somebody's row lock may wait for as long as that transaction lasts, and nobody else should.
    """

    __slots__ = ("_is_held", "_queue", "_timer")

    def __init__(self, queue: CommitQueue) -> None:
        self._queue = queue
        self._is_held = True
        queue.busy += 1
        self._timer = asyncio.get_running_loop().call_later(LANE_SECONDS, self.leave)

    def leave(self) -> None:
        """Gives the place back, once."""
        if self._is_held:
            self._is_held = False
            self._timer.cancel()
            self._queue.busy -= 1
            self._queue.pump()


class CommitQueue:
    """Sends commits in at most `lanes` transactions at once, up to `batch_size` in each.

    `batch_size` 1 switches batching off; then lanes do not bind either and every commit takes a connection of the pool.
    """

    def __init__(self, database: Database, *, lanes: int = DEFAULT_LANES, batch_size: int = DEFAULT_BATCH) -> None:
        self.busy = 0
        self._database = database
        self._lanes = lanes
        self._batch_size = batch_size
        self._waiting: deque[tuple[RowCommit, asyncio.Future[Any]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, commit: RowCommit) -> Any:
        """What SQL answered. Raises psycopg.Error, DatabaseUnavailableError and QueueFullError."""
        if self._batch_size == 1:
            return await self._send_alone(commit)
        if self.busy < self._lanes:
            lane = _Lane(self)
            try:
                return await self._send_alone(commit)
            finally:
                lane.leave()
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFullError
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((commit, answer))
        return await answer

    async def close(self) -> None:
        """Lets what was sent come to its end; what still waits is cancelled."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def pump(self) -> None:
        """Sends what waits, as far as there are lanes."""
        while self._waiting and self.busy < self._lanes:
            count = min(self._batch_size, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            task = asyncio.get_running_loop().create_task(self._send_batch(batch, _Lane(self)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_batch(self, batch: list[tuple[RowCommit, asyncio.Future[Any]]], lane: _Lane) -> None:
        try:
            if len(batch) > 1 and await self._send_together(batch):
                return
            await asyncio.gather(*(self._resolve(commit, answer) for commit, answer in batch))
        except BaseException as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            lane.leave()

    async def _send_together(self, batch: list[tuple[RowCommit, asyncio.Future[Any]]]) -> bool:
        """Whether the batch went through; after a database error whose fault it was shows when each is sent alone."""
        items = b"[" + b",".join([commit.item() for commit, _ in batch]) + b"]"
        # A commit that waits for somebody's row lock must not hold up its neighbours: then they part.
        calls = [Call(_BEGIN), Call(_LOCK_TIMEOUT), Call(_BATCH, (items,)), Call(_COMMIT)]
        try:
            results = await self._database.run(calls)
        except psycopg.Error:
            return False
        outcomes = orjson.loads(results[2].get_value(0, 0) or b"[]")
        for (_, answer), outcome in zip(batch, outcomes, strict=True):
            if not answer.done():
                answer.set_result(outcome)
        return True

    async def _resolve(self, commit: RowCommit, answer: asyncio.Future[Any]) -> None:
        try:
            outcome = await self._send_alone(commit)
        except Exception as error:  # noqa: BLE001  # handed to the one who waits for it
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(outcome)

    async def _send_alone(self, commit: RowCommit) -> Any:
        (result,) = await self._database.run([commit.call()], organization=commit.organization)
        return orjson.loads(result.get_value(0, 0) or b"null")
