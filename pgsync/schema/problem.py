"""What is wrong with a schema, told in one go.

Validation never stops at the first problem: everything found is collected and raised together as a `SchemaError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and what to do about it.

    `model` is the class name or the schema key, `field` the wire name or relation name; both None when the document as
    a whole is meant. `code` is one of the contract's codes (section 4), `invalid_schema` when it has none that fits.
    """

    message: str
    remedy: str
    model: str | None = None
    field: str | None = None
    code: str = "invalid_schema"

    def __str__(self) -> str:
        where = ".".join(part for part in (self.model, self.field) if part is not None)
        return f"{where + ': ' if where else ''}{self.message}; {self.remedy} [{self.code}]"


class SchemaError(Exception):
    """A schema that cannot be used. `problems` lists every reason, `code` is the contract's code of the whole."""

    code = "invalid_schema"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem in the schema" if count == 1 else f"{count} problems in the schema"
        super().__init__("\n".join([f"{head}:", *(f"  {problem}" for problem in self.problems)]))


class SchemaLoadError(Exception):
    """A schema that could not be loaded from where it was said to be; the message carries the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message = message
        self.remedy = remedy
