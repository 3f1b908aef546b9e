"""What `pgsync serve` does with a schema that comes over HTTP: checks it and keeps it for `pgsync push --proposed`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pgsync import log
from pgsync.gateway.schema import SchemaPush
from pgsync.log import Event


async def propose(pushed: SchemaPush) -> Mapping[str, Any]:
    """The answer to `POST /api/schema`. A gateway has no right to change tables, so nothing changes yet."""
    from pgsync.push import breaks_of_wire, schema_of_wire

    declared = await asyncio.to_thread(schema_of_wire, pushed.document)
    broken = breaks_of_wire(declared, pushed.active, pushed.options)
    if pushed.active.version and dict(pushed.active.document) == declared.to_json():
        return {"version": pushed.active.version, "hash": declared.hash, "unchanged": True}
    await pushed.propose(declared.hash)
    log.emit(Event.SCHEMA_PROPOSED, hash=declared.hash)
    return {
        "version": pushed.active.version + 1,
        "hash": declared.hash,
        "warnings": [
            *(str(warning) for warning in declared.resolved.warnings),
            *broken,
            "this schema is proposed: it takes effect when somebody with rights runs `pgsync push --proposed`",
        ],
        "provisioningDeferred": True,
    }
