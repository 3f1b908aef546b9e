"""Whether this gateway can do its work, for load balancers and people."""

from __future__ import annotations

import orjson

from pgsync.gateway.active_schema import ServedSchema
from pgsync.stream.feed import Feed


def health(schema: ServedSchema, feed: Feed, worker: int | None) -> tuple[int, bytes]:
    """The HTTP status and body of `GET /api/health`: 503 while the log is not being read.

    Of several workers on one port it is the one that answers which tells of itself, with its number.
    """
    is_connected = feed.is_connected
    slot = feed.slot_state
    body = {
        "status": "healthy" if is_connected else "degraded",
        "stream": {
            "connected": is_connected,
            "lastSyncId": feed.head,
            "lagBytes": feed.lag_bytes,
            "lagSeconds": round(feed.lag_seconds, 3),
            "problems": [{"model": each.model, "problem": each.problem} for each in feed.problems],
            "slot": {
                "name": feed.slot,
                "walStatus": slot and slot.wal_status,
                "retainedBytes": slot and slot.retained_bytes,
                "safeBytes": slot and slot.safe_bytes,
                "failover": slot and slot.failover,
            },
        },
        **({} if worker is None else {"worker": worker}),
        "schema": {"version": schema.current.version, "hash": schema.current.hash},
    }
    return (200 if is_connected else 503), orjson.dumps(body)
