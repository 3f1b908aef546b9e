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


def is_plain(name: str) -> bool:
    """Whether Postgres takes this name unquoted and whole: `[a-z][a-z0-9_]*`, at most 63 bytes."""
    return len(name.encode()) <= MAX_BYTES and _PLAIN.match(name) is not None


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
