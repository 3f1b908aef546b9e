"""Finds and renders the `.sql` files that the project ships.

In a checkout they are in `sql/` beside the package, in a wheel in `pgsync/_sql`; Python holds no statement of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

_PACKAGE = Path(__file__).resolve().parent


@lru_cache(maxsize=1)
def root() -> Path:
    """The folder with the `.sql` files.

    Raises FileNotFoundError when the installation is incomplete.
    """
    for candidate in (_PACKAGE / "_sql", _PACKAGE.parent / "sql"):
        if (candidate / "roles.sql").is_file():
            return candidate
    raise FileNotFoundError(f"no sql files beside {_PACKAGE}; install pgsync-layer again")


@lru_cache(maxsize=64)
def read(path: str) -> str:
    """The text of one file, e.g. `migrations/0001_state.sql`."""
    return (root() / path).read_text(encoding="utf-8")


def names(folder: str) -> Iterator[str]:
    """The `.sql` files of one folder in the order of their names, relative to `root()`."""
    for path in sorted((root() / folder).glob("*.sql")):
        yield f"{folder}/{path.name}"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(root()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(path: str, **values: Any) -> str:
    """A template filled in. An unknown name in it is an error, never an empty text."""
    return _environment().get_template(path).render(**values)
