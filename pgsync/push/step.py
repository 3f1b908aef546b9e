"""One step of a plan, with what a reviewer wants to know before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Stage(StrEnum):
    """When a step runs.

    `runtime`: state of pgsync's own, in a transaction before everything else. `before` and `after`: each step alone,
    because it may take long; those after the transaction are done again by the next push when they were interrupted.
    `transaction`: with all others of its kind and the activation of the version.
    """

    RUNTIME = "runtime"
    BEFORE = "before"
    TRANSACTION = "transaction"
    AFTER = "after"


ACCESS_SHARE: Final = "ACCESS SHARE"
ACCESS_EXCLUSIVE: Final = "ACCESS EXCLUSIVE"
SHARE_ROW_EXCLUSIVE: Final = "SHARE ROW EXCLUSIVE"
SHARE_UPDATE_EXCLUSIVE: Final = "SHARE UPDATE EXCLUSIVE"
ROW_EXCLUSIVE: Final = "ROW EXCLUSIVE"
STRENGTH: Final = (ACCESS_SHARE, ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, SHARE_ROW_EXCLUSIVE, ACCESS_EXCLUSIVE)
"""The lock modes that steps take, each stronger than those before it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A titled piece of SQL.

    `lock` is the strongest lock that it takes on `tables` (quoted names), "" for none. `reads`: whether it reads all
    rows of them; nothing ever rewrites a table. `risk` says whom it may hit and `undo` what takes it back, "" where
    there is nothing to say. `breaks`: clients and functions of the version before cannot live with it.
    """

    title: str
    sql: str
    lock: str = ""
    tables: tuple[str, ...] = ()
    reads: bool = False
    risk: str = ""
    undo: str = ""
    stage: Stage = Stage.TRANSACTION
    breaks: bool = False

    @property
    def waits(self) -> bool:
        """Whether it may wait for others as long as it takes, because nobody who reads or writes waits for it."""
        return self.lock == SHARE_UPDATE_EXCLUSIVE

    def to_json(self) -> dict[str, Any]:
        """The step as `--json` prints it."""
        return {
            "title": self.title,
            "stage": self.stage.value,
            "lock": self.lock or None,
            "tables": list(self.tables),
            "readsTable": self.reads,
            "rewritesTable": False,
            "risk": self.risk or None,
            "undo": self.undo or None,
            "sql": self.sql,
        }

    @property
    def comment(self) -> str:
        """What is printed above its SQL."""
        lines = [f"-- {self.title}"]
        if self.lock:
            how = "reads all rows" if self.reads else "reads no row, rewrites nothing"
            lines.append(f"--   lock: {self.lock} on {', '.join(self.tables) or 'what it names'}; {how}")
        if self.risk:
            lines.append(f"--   risk: {self.risk}")
        if self.undo and "\n" not in self.undo.rstrip("\n"):
            lines.append(f"--   undo: {self.undo.rstrip()}")
        return "\n".join(lines) + "\n"
