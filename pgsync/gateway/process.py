"""What a process that runs a gateway sets up for itself: its event loop and its garbage collector.

Kept out of the library's other modules: a program that embeds a gateway decides these for itself.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one; None for asyncio's own loop."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def tune_collector() -> None:
    """Fewer and later collections: the stream makes many objects that live for seconds and are in no cycle.

    Measured: with Python's defaults a feed of one-row transactions spends about half of its time in the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
