"""What asyncio lacks: a task group that leaves its task as it found it, and a task that is waited for until it runs.

Before Python 3.12 a child that fails while the group waits for its children leaves a request for cancellation on the
parent task, and before 3.11.4 `asyncio.timeout` takes that for somebody's: it ends the task in place of its block.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class TaskGroup(asyncio.TaskGroup):
    """As `asyncio.TaskGroup`; whoever catches what it raises may go on."""

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._requests = task, task.cancelling()
        await super().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        except BaseExceptionGroup:
            if kind is None and self._task.cancelling() > self._requests:
                self._task.uncancel()
            raise


async def wait_until(event: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Waits until the task has set the event. Raises what ended the task, if it ends before."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if task.done():
        await task
