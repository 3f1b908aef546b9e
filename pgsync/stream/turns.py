"""Who goes first on the event loop: whoever makes frames of what was read, before whoever reads more.

Both give the loop back after some milliseconds, so that nobody else waits for them. If they took turns as equals, the
reader would outrun readers of the ring who could follow, because making frames takes longer than reading.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

PATIENCE_SECONDS: Final = 0.25  # in case somebody has a whole ring to catch up with


class Turns:
    """The turns of one event loop."""

    def __init__(self) -> None:
        self._making = 0

    async def between_frames(self) -> None:
        """Gives the others their turn; for whoever has made frames and goes on to make more."""
        self._making += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._making -= 1

    async def between_messages(self) -> None:
        """Gives the others their turn, and those who make frames as many as they need; for whoever reads the log."""
        await asyncio.sleep(0)
        if self._making:
            patience_ends = time.monotonic() + PATIENCE_SECONDS
            while self._making and time.monotonic() < patience_ends:  # noqa: ASYNC110 - they are running, not waiting
                await asyncio.sleep(0)
