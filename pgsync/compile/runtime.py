"""The runtime of pgsync as SQL: roles, state, functions. The same for every schema, in the order of installation.

State changes by forward-only migrations, code is replaced from its file when the file has changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from graphlib import TopologicalSorter

from pgsync import sqlfiles
from pgsync.compile.functions import render_dispatchers
from pgsync.names import literal

_CALL = re.compile(r"\b(pgsync|pgsync_private)\.([a-z0-9_]+)\s*\(")


@dataclass(frozen=True, slots=True)
class Migration:
    """A forward-only change of our state. `sql` runs once and notes that it ran."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class FunctionFile:
    """A function of the runtime by the path of its file. `sql` replaces it and notes `hash`, that of the file."""

    path: str
    sql: str
    hash: str


@lru_cache(maxsize=1)
def migrations() -> tuple[Migration, ...]:
    """All migrations in their order."""
    return tuple(_migrations())


@lru_cache(maxsize=1)
def function_files() -> tuple[FunctionFile, ...]:
    """The functions, each after those that it calls: a body in SQL is bound when it is created."""
    return tuple(_function_files())


@lru_cache(maxsize=1)
def first_dispatchers() -> tuple[tuple[str, str], ...]:
    """Signature and statement of the dispatchers as they are before there is a model: the runtime calls them."""
    return tuple(render_dispatchers(()).items())


def roles() -> str:
    """What makes the roles of the cluster."""
    return sqlfiles.read("roles.sql")


def publication() -> str:
    """What makes the publication, without tables."""
    return sqlfiles.read("publication.sql")


def first_partitions() -> str:
    """What makes the partitions that the first writes go to."""
    return sqlfiles.read("bundle/maintain.sql")


def _migrations() -> Iterator[Migration]:
    for path in sqlfiles.names("migrations"):
        name = path.removeprefix("migrations/").removesuffix(".sql")
        yield Migration(name, sqlfiles.read(path) + sqlfiles.render("bundle/record_migration.sql", name=literal(name)))


def _function_files() -> Iterator[FunctionFile]:
    paths = {
        (folder, path.removeprefix(f"{folder}/").removesuffix(".sql")): path
        for folder in ("pgsync_private", "pgsync")
        for path in sqlfiles.names(folder)
    }
    texts = {key: sqlfiles.read(path) for key, path in paths.items()}
    graph = {
        key: sorted({called for called in _CALL.findall(text) if called in paths and called != key})
        for key, text in texts.items()
    }
    for key in TopologicalSorter(graph).static_order():
        digest = hashlib.sha256(texts[key].encode()).hexdigest()
        recorded = sqlfiles.render("bundle/record_runtime.sql", identity=literal(paths[key]), hash=literal(digest))
        yield FunctionFile(paths[key], texts[key] + recorded, digest)
