"""A dump taken apart: its rows by table, and everything else as text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from tests.postgres import Database
from tests.sql.dump import dump

_SEQUENCE = re.compile(r"^(SELECT pg_catalog\.setval\('.*'), \d+, (?:true|false)\);$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Dump:
    """`rows` are lines of COPY by table; `rest` is all the other text, without where sequences are."""

    rest: str
    rows: dict[str, Counter[str]]

    def more_than(self, before: Dump) -> dict[str, list[str]]:
        """The rows that are here and were not before, by table. All that was before must be here still."""
        assert self.rest == before.rest
        assert self.rows.keys() == before.rows.keys()
        lost = {table: rows - self.rows[table] for table, rows in before.rows.items()}
        assert not any(lost.values()), lost
        more = {table: sorted((rows - before.rows[table]).elements()) for table, rows in self.rows.items()}
        return {table: rows for table, rows in more.items() if rows}


def take_dump(database: Database) -> Dump:
    """What pg_dump says of a database now."""
    rest: list[str] = []
    rows: dict[str, Counter[str]] = {}
    table = None
    for line in dump(database).split("\n"):
        if table is not None and line != "\\.":
            rows[table][line] += 1
            continue
        rest.append(line)
        found = re.fullmatch(r"COPY (.+) \(.*\) FROM stdin;", line)
        table = found[1] if found else None
        if table is not None:
            rows[table] = Counter()
    return Dump(_SEQUENCE.sub(r"\1", "\n".join(rest)), rows)
