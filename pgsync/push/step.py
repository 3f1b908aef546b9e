"""One step of a plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A titled piece of SQL; `lock` is the strongest lock on a table that it takes."""

    title: str
    sql: str
    lock: str = "none"
