"""Reads a replication slot to a position as the gateway does, up to the JSON of every row, and says how long it took.

python -m bench.read_slot CONNINFO SLOT END_LSN
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

import psycopg
import uvloop

from bench.child import READY
from pgsync.models import ActiveSchema, active_schema_from_json
from pgsync.names import PUBLICATION
from pgsync.stream.connect import Replication, parse_lsn
from pgsync.stream.group import Grouper


def active_schema(conninfo: str) -> ActiveSchema:
    """The models that the database obeys."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        row = connection.execute("SELECT pgsync.schema_v1()").fetchone()
    assert row is not None
    return active_schema_from_json(row[0])


async def read(conninfo: str, slot: str, end_lsn: int) -> dict[str, Any]:
    """Counts of what was read; the clock runs from START_REPLICATION to the last row's JSON."""
    grouper = Grouper(active_schema(conninfo))
    replication = await Replication.connect(conninfo, application_name="pgsync bench")
    print(READY, flush=True)
    transactions = changes = size_bytes = 0
    used = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    await replication.start(slot, publication=PUBLICATION)
    reached = 0
    while reached < end_lsn:
        for data in await replication.read():
            group = grouper.take(data)
            if group is not None:
                transaction = group.transaction
                transactions += 1
                for change in transaction.changes:
                    row = change.data
                    changes += 1
                    size_bytes += 0 if row is None else len(row)
                reached = transaction.end_lsn
                if reached >= end_lsn:
                    break
        if not grouper.is_inside:
            reached = max(reached, replication.sent_lsn)
        await asyncio.sleep(0)
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    await replication.close()
    return {
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
        "transactions": transactions,
        "changes": changes,
        "json_bytes": size_bytes,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(read(sys.argv[1], sys.argv[2], parse_lsn(sys.argv[3])))), flush=True)
