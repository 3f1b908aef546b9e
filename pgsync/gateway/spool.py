"""Bytes between a fast writer and a slow reader: in memory while they are few, then in a temporary file.

So a transaction that reads rows ends as soon as the database can give them, whoever they are for, and memory stays
bounded by a constant.
"""

from __future__ import annotations

import asyncio
import tempfile
from typing import Final, Self

MEMORY_BYTES: Final = 512 * 1024


class Spool:
    """Written by one task and read by one other, in order. To be closed by `with`."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=memory_bytes)  # noqa: SIM115  # closed by __exit__
        self._written = 0
        self._read = 0
        self._is_complete = False
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        """Adds bytes. Raises OSError when the disk is full."""
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)
        self._changed.set()

    def complete(self) -> None:
        """Says that nothing more will be written."""
        self._is_complete = True
        self._changed.set()

    async def read(self, limit_bytes: int) -> bytes:
        """Waits for bytes and gives up to so many of them; empty at the end."""
        while self._read == self._written and not self._is_complete:
            self._changed.clear()
            await self._changed.wait()
        self._file.seek(self._read)
        data = self._file.read(min(limit_bytes, self._written - self._read))
        self._read += len(data)
        if self._read == self._written and self._read > MEMORY_BYTES:
            self._file.seek(0)
            self._file.truncate()
            self._read = self._written = 0
        return data
