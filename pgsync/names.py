"""Names of everything that pgsync puts into a database, in one place.

A name that would not fit Postgres as it stands is refused, never truncated, hashed or lower-cased for somebody.
"""

from __future__ import annotations

import re
from typing import Final

FUNCTIONS: Final = "pgsync"
PRIVATE: Final = "pgsync_private"
GENERATED: Final = "pgsync_generated"

OWNER: Final = "pgsync_owner"
WRITER: Final = "pgsync_writer"
GATEWAY: Final = "pgsync_gateway"
LISTENER: Final = "pgsync_listener"

PUBLICATION: Final = "pgsync"
SLOT_PREFIX: Final = "pgsync_"
MESSAGE_PREFIX: Final = "pgsync"
CHANNEL: Final = "pgsync"

MAX_BYTES: Final = 63
_PLAIN = re.compile(r"[a-z][a-z0-9_]*\Z")

# `pg_get_keywords()` of PostgreSQL 18, catcode R and T: what cannot name a table or a column unquoted. Older servers
# reserve a subset.
RESERVED: Final = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true
    union unique user using variadic verbose when where window with
    """.split()  # noqa: SIM905  a list of a hundred words reads better as text
)


def is_plain(name: str) -> bool:
    """Whether Postgres takes this name unquoted and whole: `[a-z][a-z0-9_]*`, at most 63 bytes."""
    return len(name.encode()) <= MAX_BYTES and _PLAIN.match(name) is not None


def is_reserved(name: str) -> bool:
    """Whether Postgres would need quotes around this name because it is a keyword."""
    return name in RESERVED


def snake_case(name: str) -> str:
    """`dueDate` -> `due_date`, `HTTPRequest` -> `http_request`, `a1B` -> `a1_b`."""
    spaced = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", spaced).lower()


def slot_name(deployment: str) -> str:
    """The replication slot of one gateway deployment.

    Raises ValueError for a deployment name that Postgres would not take: slots allow `[a-z0-9_]` and 63 bytes.
    """
    name = SLOT_PREFIX + deployment
    if not is_plain(name):
        raise ValueError(
            f"deployment name {deployment!r} gives slot {name!r}; use lower-case letters, digits and _,"
            f" at most {MAX_BYTES - len(SLOT_PREFIX)} characters"
        )
    return name


def quote(name: str) -> str:
    """An identifier as it stands in SQL text: quoted only where Postgres needs it."""
    if is_plain(name) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL string literal that means the same under any setting of the session.

    It may stand in a dollar-quoted body: a `$` is written as an escape, so that no text can end one.
    """
    quoted = "'" + text.replace("'", "''") + "'"
    if "\\" not in text and "$" not in text:
        return quoted
    return "E" + quoted.replace("\\", "\\\\").replace("$", "\\x24")
