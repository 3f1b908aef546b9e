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

    Measured: with Python's defaults a feed of one-row transactions spends about half of its time in the collector. A
    collection of the youngest stops everybody: at 50,000 objects for 20 to 70 ms, at 10,000 for 3 to 7, in less time
    altogether. The older ones are what the ring holds, 100 ms for nothing, so they are looked at a tenth as often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 500, 100)
