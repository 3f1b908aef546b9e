"""What `pg_dump` says of a database, as text that can be compared."""

from __future__ import annotations

import re
import subprocess
from typing import Final

from tests.postgres import Database

# Newer pg_dumps begin and end with a random word that psql is to expect.
_RANDOM: Final = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)
_ROWS: Final = re.compile(r"^(COPY [^\n]* FROM stdin;\n)(.*?)(^\\\.$)", re.MULTILINE | re.DOTALL)


def dump(database: Database, *options: str) -> str:
    """The dump of a whole database; `options` are pg_dump's. Rows are sorted: where they lie is up to the vacuum."""
    text = _RANDOM.sub("", _run(database, "pg_dump", "--dbname", database.url, *options))
    return _ROWS.sub(lambda found: found[1] + "".join(sorted(found[2].splitlines(keepends=True))) + found[3], text)


def psql(database: Database, text: str) -> str:
    """Runs a script as a DBA would and returns what it printed; fails with psql's words."""
    return _run(database, "psql", database.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", script=text)


def _run(database: Database, program: str, *arguments: str, script: str | None = None) -> str:
    said = subprocess.run(
        [database.server.program(program), *arguments], input=script, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    return said.stdout
