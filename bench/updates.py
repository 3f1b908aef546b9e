"""Updates rows at a steady rate until it is told to end, then says how many it made in how many seconds.

python -m bench.updates DSN PER_SECOND
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time

import psycopg

from bench.child import READY
from bench.world import ORGANIZATION, ROWS

WRITERS = 4
_UPDATE = "UPDATE public.tasks SET title = %s WHERE organization_id = %s AND id = %s"


def write(dsn: str, per_second: float, end: threading.Event, counts: list[int], number: int) -> None:
    """One session, which makes up for what it is behind."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        begun = time.monotonic()
        while not end.is_set():
            connection.execute(_UPDATE, [f"load {counts[number]}", ORGANIZATION, str(random.randint(1, ROWS))])
            counts[number] += 1
            ahead = begun + counts[number] / per_second - time.monotonic()
            if ahead > 0:
                end.wait(ahead)


def main(dsn: str, per_second: str) -> None:
    end, counts = threading.Event(), [0] * WRITERS
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    arguments = (dsn, float(per_second) / WRITERS, end, counts)
    writers = [threading.Thread(target=write, args=(*arguments, number)) for number in range(WRITERS)]
    begun = time.monotonic()
    for writer in writers:
        writer.start()
    print(READY, flush=True)
    end.wait()
    for writer in writers:
        writer.join()
    print(json.dumps({"per_second": sum(counts) / (time.monotonic() - begun)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
