"""How long a push waits for others, and how long others may wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from pgsync import sqlfiles
from pgsync.names import literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a push waits.

    `lock_timeout_seconds`: for one lock, while others queue up behind it; `patience_seconds`: with pauses, for all
    tries of one step. `statement_timeout_seconds`: for a statement in the transaction. `concurrent_timeout_seconds`:
    for one that is in nobody's way, such as building an index.
    """

    lock_timeout_seconds: float = 1
    patience_seconds: float = 60
    statement_timeout_seconds: float = 300
    concurrent_timeout_seconds: float = 24 * 3600

    @property
    def begin(self) -> str:
        """What the transaction begins with."""
        return sqlfiles.render(
            "push/begin.sql",
            lock_timeout=_milliseconds(self.lock_timeout_seconds),
            statement_timeout=_milliseconds(self.statement_timeout_seconds),
        )

    @property
    def session(self) -> str:
        """What runs before the steps that are outside of the transaction."""
        return sqlfiles.render(
            "push/session.sql",
            lock_timeout=_milliseconds(self.lock_timeout_seconds),
            statement_timeout=_milliseconds(self.concurrent_timeout_seconds),
        )

    @property
    def patience(self) -> str:
        """What runs before a step that waits as long as it takes."""
        return sqlfiles.render("push/patience.sql", lock_timeout=_milliseconds(self.concurrent_timeout_seconds))


def _milliseconds(seconds: float) -> str:
    return literal(f"{seconds * 1000:.0f}ms")
