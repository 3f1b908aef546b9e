"""`dev.json`: where a running `pgsync dev` is and with which key, for people and programs on this machine.

Only its owner can read it. It outlives the run, so that the next one keeps the same key, password and ports.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

FILE_NAME: Final = "dev.json"


@dataclass(frozen=True, slots=True)
class DevState:
    """`url` of the gateway, `database_url` of the superuser, `secret_key` of the organization `organization_id`."""

    url: str
    database_url: str
    secret_key: str
    organization_id: str

    @property
    def password(self) -> str | None:
        """The superuser's password in `database_url`."""
        password = urlsplit(self.database_url).password
        return unquote(password) if password else None

    @property
    def database_port(self) -> int | None:
        """The TCP port in `database_url`."""
        return urlsplit(self.database_url).port

    @property
    def port(self) -> int | None:
        """The gateway's port in `url`."""
        return urlsplit(self.url).port


def read(directory: Path) -> DevState | None:
    """What an earlier run wrote; None when there is nothing that can be used."""
    try:
        state = DevState(**json.loads((directory / FILE_NAME).read_text()))
        if all(isinstance(value, str) for value in asdict(state).values()):
            _ = state.port, state.database_port  # a port that is none raises here
            return state
    except (OSError, ValueError, TypeError):
        pass
    return None


def write(directory: Path, state: DevState) -> Path:
    """Writes the file with mode 0600, whole or not at all, and returns its path."""
    path = directory / FILE_NAME
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=2)
        file.write("\n")
    draft.replace(path)
    return path
