"""A committed transaction as the stream passes it on: numbered changes with their origin, and notices to gateways.

Made by `group` and `number`, kept by `ring`, read by `route`, `timeline` and whoever waits for a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pgsync.expression import Reader
from pgsync.models import Model
from pgsync.values import RowEncoder

RuleRow = Mapping[str, str | None]
"""The columns of a model's read rule, as text; None for NULL."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made a change: the commit message before it in its transaction, or the database role of a direct write.

    `actor` and `on_behalf_of` are (kind, id) or None when the log does not say.
    """

    actor: tuple[str, str] | None = None
    on_behalf_of: tuple[str, str] | None = None
    capability_id: str | None = None
    server_tx_id: str | None = None
    client_tx_id: str | None = None


UNKNOWN_ORIGIN = Origin()


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model's read rule is judged by: the columns it names, before and after the change.

    `row` is None for D. `previous_row` is None for I, and when the log does not have the old row.
    """

    matches: Callable[[RuleRow, Reader], bool]
    row: RuleRow | None
    previous_row: RuleRow | None


# Sync ids after the last change of a transaction that changes memberships: whoever begins or ceases to see rows by it
# is told so in ids of this place, which stay the same on every gateway whoever uses how many of them.
RESERVED_SYNC_IDS: Final = 4096


@dataclass(frozen=True, slots=True)
class Membership:
    """What a change of a membership row says: who held which group by it before, and who does now.

    Both are (participant id, sync group), None for nobody. `is_known` is False when the log does not have the old row.
    """

    old: tuple[str, str] | None
    new: tuple[str, str] | None
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns of a relation are in its rows, and how such a row becomes JSON."""

    places: Mapping[str, int]
    encode: RowEncoder


@dataclass(slots=True)
class Change:
    """One change of one row.

    `action` is the contract's letter: I, U or D; or one that no delta can say: T, the whole table was truncated (then
    `row_id` is ""), or its rows are others without the log saying which; R, the log does not have the whole row; S, the
    table does not fit the model, so that nobody sees the row. Who sees a T or R has to load rows anew. F: rows have
    values that they were never sent with, of a field or a model that is new (`row_id` is ""); only who comes back
    from before has to load them.
    `organization` is None for a model that all organizations share. `groups` are the row's sync groups after the
    change (before it, for D); `previous_groups` are those before a U, when they were others and the log has the old
    row: who is only in them must see the row go. `encode` gives the JSON object of the row as bytes, of `row` when
    there is one (the row as the log has it); it is None for what has no data. `transaction_id` is the caller's
    own id of the operation. `judged` is None for a model without a read rule, `membership` for one whose rows grant
    nothing, or for a change that leaves what a row grants as it was. `previous_row` is the row before, when the log has
    all of it. Both rows are as `rows` reads them: decoded, or a message of the log; `columns` says what is where.
    """

    sync_id: int
    action: str
    model: Model
    row_id: str
    organization: str | None
    groups: tuple[str, ...]
    origin: Origin
    transaction_id: str | None
    encode: Callable[..., bytes] | None
    row: object = None
    previous_groups: tuple[str, ...] | None = None
    judged: Judged | None = None
    membership: Membership | None = None
    columns: Columns | None = None
    previous_row: object = None

    @property
    def data(self) -> bytes | None:
        """The row as JSON, without columns whose unchanged value the log left out. Made anew each time."""
        if self.encode is None:
            return None
        return self.encode() if self.row is None else self.encode(self.row)


@dataclass(frozen=True, slots=True)
class Notice:
    """What gateways tell each other through the log, at the place of the transaction that says it.

    `kind` is `p` (presence) or `k` (a claim). `said` is the JSON object as it stands in the log: any role of the
    database may write one, so it is a hint, and of any shape. `xid` is the transaction's 64-bit id: what the notice is
    about may not be visible to others yet.
    """

    kind: str
    xid: int
    said: Mapping[str, Any]


@dataclass(slots=True)
class Transaction:
    """One committed transaction, or a part of a large one, with its place in the number line.

    `xid` is the 64-bit transaction id. `end_lsn` is what the slot may be told once nobody needs the transaction any
    more. `first_sync_id..last_sync_id` are its changes; for one without counted changes `last_sync_id` is the head
    before it and `first_sync_id` is `last_sync_id + 1`. `reserved` of the numbers, at the end, belong to no change.
    `commits` are the guarded commits in it: server_tx_id and last sync id of each. `snapshot` is the latest
    `pg_current_snapshot()` that a message of it carries: everything that it saw was streamed before. `size_bytes` is
    what the ring accounts for it. `notices` are in the order in which they were said; they take no number.

    A transaction that is larger than a bound comes in parts, one after another and nothing in between. `before` says
    how many of its changes came in earlier parts, `is_last` whether it ends here. Only the last part has `end_lsn`,
    `commits`, `snapshot`, `notices` and `reserved`: positions that anybody may go back to lie between transactions.
    """

    xid: int
    end_lsn: int
    committed_at: str
    first_sync_id: int
    last_sync_id: int
    changes: list[Change]
    commits: list[tuple[str, int]] = field(default_factory=list)
    snapshot: str | None = None
    size_bytes: int = 0
    notices: list[Notice] = field(default_factory=list)
    reserved: int = 0
    before: int = 0
    is_last: bool = True

    @property
    def count(self) -> int:
        """How many sync ids it takes."""
        return len(self.changes) + self.reserved

    @property
    def begins_after(self) -> int:
        """The sync id before the first change of the whole transaction."""
        return self.first_sync_id - 1 - self.before

    @property
    def is_whole(self) -> bool:
        """Whether this is all of the transaction."""
        return self.is_last and not self.before
