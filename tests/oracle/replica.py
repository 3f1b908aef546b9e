"""A small client of contract 2.4, and the record of what it was told, which the checker reads again.

The replica knows nothing of models, rules or groups: it applies what it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RowKey = tuple[str, str]
"""Typename and row id."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One delta as it came."""

    id: int
    action: str
    typename: str
    row_id: str
    data: Mapping[str, Any] | None
    groups: tuple[str, ...]
    transaction_id: str | None

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Delta:
        """A delta of contract 2.4; the required members are required here, too."""
        return cls(
            said["id"],
            said["actionType"],
            said["modelName"],
            said["modelId"],
            said["data"],
            tuple(said["syncGroups"]),
            said.get("transactionId"),
        )


# --- what happened to a subscriber, in the order in which it saw it ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """A new stream for these groups. `after` is the position of the cursor that it was opened with, if any.

    `anew`: the rows were those of other groups.
    """

    groups: frozenset[str]
    after: int | None
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """One delta frame."""

    deltas: tuple[Delta, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A sync_request: everything up to `last_sync_id` is here."""

    last_sync_id: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A sync_response, asked for or not."""

    deltas: tuple[Delta, ...]
    current_sync_id: int
    requires_bootstrap: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The stream is for these groups from now on."""

    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class BootstrapAsked:
    """The client begins to load rows."""


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """All rows, as of `position` or a little later: `settled` is a position that none of them is beyond.

    `in_stream`: the stream itself went on from the rows' snapshot.
    """

    position: int
    rows: Mapping[RowKey, Mapping[str, Any]]
    groups: frozenset[str]
    settled: int
    in_stream: bool = False
    pages: int = 1


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """A partial bootstrap: the deltas since `after`, where the replica was when it asked; it may have gone on since."""

    deltas: tuple[Delta, ...]
    position: int
    after: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The client was told that it has everything up to `position`."""

    position: int


@dataclass(frozen=True, slots=True)
class Granted:
    """A claim was got, and its client was told that it has everything up to `read_at`."""

    read_at: int


Event = Opened | Frame | Asked | Answered | Subscribed | BootstrapAsked | Bootstrapped | CaughtUp | Settled | Granted


@dataclass(slots=True)
class Replica:
    """What a client holds. `position`: everything up to this sync id is in it. `is_whole`: it has rows to build on.

    `has_asked`: it has said on this stream what it has.
    """

    rows: dict[RowKey, dict[str, Any]] = field(default_factory=dict)
    position: int = 0
    is_whole: bool = False
    is_opening: bool = True
    has_asked: bool = False
    _waiting: dict[int, Delta] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Applies what the client was told."""
        match event:
            case Opened(anew=anew):
                self.is_whole = self.is_whole and not anew
                self.is_opening = True
                self.has_asked = False
                self._waiting.clear()
            case Asked():
                self.has_asked = True
            case Frame(deltas):
                self._receive(deltas)
            case Answered(requires_bootstrap=False) if self.is_opening and not self.has_asked:
                pass  # the end of what has come in several frames; where this client is, it has yet to say
            case Answered(deltas, current, requires_bootstrap):
                if requires_bootstrap:
                    self.is_whole = False
                self.is_opening = False
                self._receive([*self._waiting.values(), *deltas])
                if self.is_whole:
                    self.position = max(self.position, current)
            case Bootstrapped(position, rows):
                self.rows = {key: dict(row) for key, row in rows.items()}
                self.position = position
                self.is_whole = True
                if not self.is_opening or event.in_stream:
                    self.is_opening = False
                    self._receive(list(self._waiting.values()))
            case CaughtUp(deltas, position):
                for delta in deltas:
                    if delta.id > self.position:
                        self._apply(delta)
                self.position = max(self.position, position)
            case _:
                pass

    def _receive(self, deltas: Iterable[Delta]) -> None:
        """Deltas that come before the client is ready for them wait; what it has already is passed over."""
        for delta in deltas:
            self._waiting[delta.id] = delta
        if self.is_opening or not self.is_whole:
            return
        for delta in sorted(self._waiting.values(), key=lambda delta: delta.id):
            if delta.id > self.position:
                self._apply(delta)
                self.position = delta.id
        self._waiting.clear()

    def _apply(self, delta: Delta) -> None:
        key = (delta.typename, delta.row_id)
        match delta.action:
            case "I" | "C" | "V":
                self.rows[key] = dict(delta.data or {})
            case "U" if key in self.rows:  # a U for a row that is not held is skipped
                self.rows[key] |= delta.data or {}
            case "D":
                self.rows.pop(key, None)


def differences(held: Mapping[RowKey, Mapping[str, Any]], true: Mapping[RowKey, Mapping[str, Any]]) -> Sequence[str]:
    """What is wrong with the held rows, said in a few lines. A field that is null may be missing."""
    found = [f"lacks {key}" for key in true.keys() - held.keys()]
    found += [f"still has {key}" for key in held.keys() - true.keys()]
    for key in true.keys() & held.keys():
        mine, right = held[key], true[key]
        for name in sorted(mine.keys() | right.keys()):
            if mine.get(name) != right.get(name):
                found.append(f"{key}.{name} is {_short(mine.get(name))}, should be {_short(right.get(name))}")
    return sorted(found)[:8]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
