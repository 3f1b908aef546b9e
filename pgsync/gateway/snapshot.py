"""A consistent read: statements under one identity and one snapshot, in one network round trip.

The snapshot says what the rows can contain, so it, and not the moment of the answer, gives the stamp that a later
write is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.pq.abc import PGresult

from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.models import Model
from pgsync.stream.feed import Feed
from pgsync.stream.timeline import Snapshot

BEGIN_READ: Final = Call(Statement(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", b"begin_read"))
COMMIT: Final = Call(Statement(b"COMMIT", b"commit"))
_IDENTITY: Final = Statement(
    b"SELECT pgsync.set_identity_v1($1::jsonb), pg_catalog.pg_current_snapshot()::text", b"identity"
)
_MAY_READ: Final = Statement(b"SELECT pgsync.require_read_v1($1::text)", b"require_read_v1")


@dataclass(frozen=True, slots=True)
class Reading:
    """The results of the statements, and the snapshot they were all read in."""

    results: list[PGresult]
    snapshot: Snapshot


async def read(
    database: Database, credential: Credential, calls: Sequence[Call], *, require: Sequence[Model] = ()
) -> Reading:
    """Runs SELECTs as this caller sees the database.

    Row security hides the rows of models that the caller has no grant for; `require` are those without which the read
    is refused. Raises psycopg.Error (PS301 for a missing grant), DatabaseUnavailableError.
    """
    grants = (
        []
        if credential.readable is None
        else [Call(_MAY_READ, (model.typename.lower().encode(),)) for model in require]
    )
    statements = [BEGIN_READ, identify(credential), *grants, *calls, COMMIT]
    results = await database.run(statements, organization=credential.organization_id)
    return Reading(results[2 + len(grants) : -1], snapshot_of(results[1]))


def identify(credential: Credential) -> Call:
    """Makes the transaction that caller's, and asks for its snapshot."""
    return Call(_IDENTITY, (credential.identity_json,))


def snapshot_of(result: PGresult) -> Snapshot:
    """What `identify` was answered with."""
    text = result.get_value(0, 1)
    assert text is not None
    return Snapshot.parse(text.decode())


def stamp(feed: Feed, snapshot: Snapshot) -> int:
    """The sync id up to which everything streamed was visible to the read (contract 1.6)."""
    return feed.timeline.position_at(snapshot)


def widen(xmin: int, snapshot: Snapshot) -> int:
    """The whole id of a transaction that `snapshot` sees, from the 32 bits that a row keeps of it."""
    whole = (snapshot.xmax & ~0xFFFFFFFF) | xmin
    return whole if whole <= snapshot.xmax else whole - (1 << 32)
