"""A gateway's feed in a process of its own, to be killed: appends what it hands on to a file.

python -m tests.integration.feed_process CONNINFO DEPLOYMENT FILE RING_BYTES. Prints a line once it has caught up.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pgsync import log
from pgsync.stream.feed import Feed
from pgsync.stream.ring import Held


async def main(conninfo: str, deployment: str, path: Path, ring_bytes: int) -> None:
    with path.open("a", buffering=1) as out:
        feed = Feed(conninfo, deployment=deployment, ring_bytes=ring_bytes, checkpoint_seconds=0.05)

        def watch() -> None:
            def record(held: Held) -> None:
                lines = [f"{change.sync_id} {change.row_id}\n" for change in held.transaction.changes]
                out.write("".join(lines))

            feed.ring.listener = record

        feed.on_restarted(watch)
        await feed.start()
        sys.stdout.write("caught up\n")
        sys.stdout.flush()
        await feed.ended()


if __name__ == "__main__":
    log.configure(level="error")
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
