"""What schemas compile to, kept as files that a person reads.

`python -m tests.golden.cases` writes them again; the difference is to be reviewed like any other change of SQL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pgsync.compile import compile_schema
from pgsync.compile.files import model_script
from pgsync.schema import Schema, load_schema

_HERE: Final = Path(__file__).parent
CASES: Final = {"tasks": _HERE.parents[1] / "examples" / "tasks" / "schema.py", "wide": _HERE / "wide.py"}
"""Where the schema of each golden is."""


def schema_of(name: str) -> Schema:
    """The schema of a golden."""
    return load_schema(str(CASES[name]))


def compiled(name: str) -> str:
    """What a schema compiles to now."""
    return model_script(compile_schema(schema_of(name).resolved))


def golden(name: str) -> Path:
    """The file with what it is to compile to."""
    return _HERE / f"{name}.sql"


if __name__ == "__main__":
    for each in CASES:
        golden(each).write_text(compiled(each), encoding="utf-8")
