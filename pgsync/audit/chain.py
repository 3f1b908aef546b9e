"""Checks the chain of seals against the audit rows, and names the first that is not as it was sealed.

Believes nothing but the rows: hashes are counted here and by the queries of `sql/audit`, which call no function of
pgsync. What a seal says, and how it comes to be, is in `sql/pgsync_private/seal.sql`.
"""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import class_row

from pgsync import sqlfiles

ENTRY_BYTES: Final = 48
_KEY_BYTES: Final = 16
_NOTHING: Final = "3:3:"  # a snapshot that sees no transaction
_NO_HASH: Final = bytes(32)

What = Literal["changed", "deleted", "inserted", "reordered", "missing"]


@dataclass(frozen=True, slots=True)
class Seal:
    """A row of `sql/audit/seals.sql`."""

    number: int
    previous_hash: bytes
    hash: bytes
    snapshot: str
    kept_from: date
    first_position: int
    row_count: int
    contents: str
    sealed_at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """A line of a seal's contents: up to 16,384 rows of one kind (act, change, claim) and UTC day."""

    kind: str
    day: date
    part: int
    count: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The first thing that is not as it was sealed.

    `position` counts all sealed rows from 1 on; None where it is a seal and not a row. `kind` is act (who made a
    commit), change, claim, seal, block (the list of what was sealed) or head. `xid` and `seq` are where the row is, or
    was: its transaction and its number there. `named` is what is left of it, in words.
    """

    what: What
    kind: str
    seal: int
    position: int | None = None
    xid: int | None = None
    seq: int | None = None
    named: str | None = None
    sealed_at: datetime | None = None

    def __str__(self) -> str:
        where = f"seal {self.seal}" + (f" of {self.sealed_at:%Y-%m-%d %H:%M:%S %Z}" if self.sealed_at else "")
        if self.kind == "head":
            return "no seal has the hash that was expected: seals were cut off, or the chain was written anew"
        if self.kind == "seal":
            return f"{where} is {'missing' if self.what == 'missing' else 'not as it was made'}"
        if self.kind == "block":
            return f"the list of what {where} holds is {'missing' if self.what == 'missing' else 'not as it was made'}"
        row = f"row {self.position} ({self.kind}, transaction {self.xid}, number {self.seq}; {where})"
        return f"{row} was {self.what}" + (f": {self.named}" if self.named else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found.

    `rows` were sealed, `pruned` of them may be gone because retention let their days go (those before `kept_from`).
    `unsealed` rows wait for the next seal. `expected` is the number of the seal whose hash was expected.
    """

    seals: int
    rows: int
    pruned: int
    unsealed: int
    kept_from: date | None
    head: Seal | None
    expected: int | None
    broken: Broken | None


def verify(connection: psycopg.Connection[Any], *, expect: bytes | None = None) -> Verdict:
    """Looks at every seal and every row, in one snapshot of the database; ends at the first that is broken.

    `connection` must not be in a transaction. `expect` is a hash that the newest seal had at some time.
    """
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        return verify_here(connection, expect=expect)


def verify_here(connection: psycopg.Connection[Any], *, expect: bytes | None = None) -> Verdict:
    """As `verify`, in the transaction that the connection is in, in which nobody else may seal meanwhile."""
    connection.execute("SET LOCAL enable_seqscan = off")  # a partition that was empty when it was analyzed looks free
    with connection.cursor(row_factory=class_row(Seal), binary=True) as cursor:
        seals = cursor.execute(sqlfiles.read("audit/seals.sql")).fetchall()
    return _Check(connection, seals).run(expect)


def _blocks(contents: str) -> Iterator[Block]:
    """The lines of a seal's contents. Raises ValueError for what no sealer writes."""
    for line in contents.split("\n") if contents else ():
        kind, day, part, count, digest = line.split(" ")
        yield Block(kind, date.fromisoformat(day), int(part), int(count), bytes.fromhex(digest))


class _Check:
    def __init__(self, connection: psycopg.Connection[Any], seals: list[Seal]) -> None:
        self._connection = connection
        self._seals = seals
        self._kept_from = seals[-1].kept_from if seals else None
        self._pruned = 0

    def run(self, expect: bytes | None) -> Verdict:
        broken = next(self._broken(), None)
        expected = next((seal.number for seal in self._seals if seal.hash == expect), None)
        if broken is None and expect is not None and expected is None:
            broken = Broken("missing", "head", self._seals[-1].number if self._seals else 0)
        head = self._seals[-1] if self._seals else None
        return Verdict(
            seals=len(self._seals),
            rows=sum(seal.row_count for seal in self._seals),
            pruned=self._pruned,
            unsealed=self._unsealed,
            kept_from=self._kept_from,
            head=head,
            expected=expected,
            broken=broken,
        )

    def _broken(self) -> Iterator[Broken]:
        head = self._seals[-1] if self._seals else None
        row = self._connection.execute(
            sqlfiles.read("audit/beyond.sql"),
            {"snapshot": head.snapshot if head else _NOTHING, "seal": head.number if head else 0},
        ).fetchone()
        assert row is not None
        self._unsealed, missing, acts = row
        gone = list(takewhile(self._is_pruned, self._seals))
        if gone:
            yield from self._links(gone, None)
            yield from self._strays(gone[-1])
        before = gone[-1] if gone else None
        for seal in self._seals[len(gone) :]:
            yield from self._links([seal], before)
            yield from self._rows(seal, _NOTHING if before is None else before.snapshot)
            before = seal
        if missing is not None or acts:
            yield Broken("missing", "seal", (head.number if head else 0) + 1)

    def _is_pruned(self, seal: Seal) -> bool:
        assert self._kept_from is not None
        try:
            return all(block.day < self._kept_from for block in _blocks(seal.contents))
        except ValueError:
            return False  # what it says is not what we write

    def _links(self, seals: list[Seal], before: Seal | None) -> Iterator[Broken]:
        """Whether each seal is what its hash says, and follows the one before."""
        for seal in seals:
            number, position, link = 1, 1, _NO_HASH
            if before is not None:
                number, link = before.number + 1, before.hash
                position = before.first_position + before.row_count
            if seal.number != number:
                yield Broken("missing", "seal", number)
            made = hashlib.sha256(seal.text.encode()).digest()
            if made != seal.hash or seal.previous_hash != link or seal.first_position != position:
                yield Broken("changed", "seal", seal.number, sealed_at=seal.sealed_at)
            try:
                blocks = [*_blocks(seal.contents)]
            except ValueError:
                blocks = []
            if sum(block.count for block in blocks) != seal.row_count:
                yield Broken("changed", "seal", seal.number, sealed_at=seal.sealed_at)
            self._pruned += sum(block.count for block in blocks if not self._is_kept(block.day))
            before = seal

    def _strays(self, last: Seal) -> Iterator[Broken]:
        """Rows among those that are gone that nobody has sealed."""
        parameters = {"snapshot": last.snapshot, "kept_from": self._kept_from}
        found = self._connection.execute(sqlfiles.read("audit/strays.sql"), parameters).fetchone()
        if found is not None:
            kind, xid, seq, _ = found
            yield self._row("inserted", last, last.first_position + last.row_count, kind, int(xid), seq)

    def _rows(self, seal: Seal, before: str) -> Iterator[Broken]:
        """Whether the rows of a seal are those that were sealed."""
        sealed = list(_blocks(seal.contents))
        with self._connection.cursor(binary=True) as cursor:
            days = [block.day for block in sealed]
            cursor.execute(sqlfiles.read("audit/blocks.sql"), {"seal": seal.number, "days": days})
            kept = {(kind, day, part): entries for kind, day, part, entries in cursor}
            parameters = {"before": before, "snapshot": seal.snapshot}
            cursor.execute(sqlfiles.read("audit/entries.sql"), parameters)
            found = {(kind, day, part): entries for kind, day, part, entries in cursor}
        then: dict[tuple[str, date, int], bytes] = {}
        for block in sealed:
            key = (block.kind, block.day, block.part)
            entries = kept.get(key)
            if entries is None:
                if self._is_kept(block.day):
                    yield Broken("missing", "block", seal.number, sealed_at=seal.sealed_at)
            elif hashlib.sha256(entries).digest() != block.digest or len(entries) != block.count * ENTRY_BYTES:
                yield Broken("changed", "block", seal.number, sealed_at=seal.sealed_at)
            else:
                then[key] = entries
        if then != found:
            yield from self._differences(seal, sealed, then, found)

    def _is_kept(self, day: date) -> bool:
        return self._kept_from is not None and day >= self._kept_from

    def _differences(
        self,
        seal: Seal,
        sealed: list[Block],
        then: dict[tuple[str, date, int], bytes],
        found: dict[tuple[str, date, int], bytes],
    ) -> Iterator[Broken]:
        """The rows of a seal that are not as they were, in the order of their positions.

        A row whose day retention has let go may be gone; nothing is said of one whose list is gone with it.
        """
        place = seal.first_position
        starts: dict[tuple[str, date, int], int] = {}
        for block in sealed:
            starts[block.kind, block.day, block.part] = place
            place += block.count
        listed = {key[:2] for key in then}
        broken: list[tuple[int, int, What, str, bytes]] = []
        for kind in sorted({block.kind for block in sealed} | {key[0] for key in found}):
            old = {
                key: (digest, starts[block] + at, block[1])
                for block, entries in then.items()
                if block[0] == kind
                for at, (key, digest) in enumerate(_split(entries))
            }
            new = {
                key: digest
                for block, entries in found.items()
                if block[0] == kind and (block[:2] in listed or self._is_kept(block[1]))
                for key, digest in _split(entries)
            }
            digests_then, digests_now = {digest for digest, _, _ in old.values()}, set(new.values())
            for key, (digest, position, day) in old.items():
                if key not in new:
                    if self._is_kept(day):
                        what: What = "reordered" if digest in digests_now else "deleted"
                        broken.append((position, 1, what, kind, key))
                elif new[key] != digest:
                    swapped = new[key] in digests_then and digest in digests_now
                    broken.append((position, 1, "reordered" if swapped else "changed", kind, key))
            keys = sorted(old)
            for key in new.keys() - old.keys():
                # Before the row of its kind that follows it, or after the last.
                after = bisect(keys, key)
                position = old[keys[after]][1] if after < len(keys) else old[keys[-1]][1] + 1 if keys else place
                what = "reordered" if new[key] in digests_then else "inserted"
                broken.append((position, 0, what, kind, key))
        for position, _, what, kind, key in sorted(broken):
            xid, seq = (int.from_bytes(part, "big") for part in (key[:8], key[8:]))
            yield self._row(what, seal, position, kind, xid, seq)

    def _row(self, what: What, seal: Seal, position: int, kind: str, xid: int, seq: int) -> Broken:
        parameters = {"kind": kind, "xid": str(xid), "seq": seq}
        named = self._connection.execute(sqlfiles.read("audit/named.sql"), parameters).fetchone()
        return Broken(
            what,
            kind,
            seal.number,
            position=position,
            xid=xid,
            seq=seq,
            named=None if named is None else named[0],
            sealed_at=seal.sealed_at,
        )


def _split(entries: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Of each entry the key (transaction and number, 16 bytes) and the digest of the row (32 bytes)."""
    for at in range(0, len(entries), ENTRY_BYTES):
        yield entries[at : at + _KEY_BYTES], entries[at + _KEY_BYTES : at + ENTRY_BYTES]
