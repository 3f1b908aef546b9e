"""The runtime of pgsync in a database: roles, namespaces, state, functions. The same for every schema.

State changes by forward-only migrations, code is replaced from its file when the file has changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter

from pgsync import sqlfiles
from pgsync.compile.functions import render_dispatchers
from pgsync.names import literal
from pgsync.push.introspect import Installed
from pgsync.push.step import Step

_CALL = re.compile(r"\b(pgsync|pgsync_private)\.([a-z0-9_]+)\s*\(")


def install_steps(installed: Installed) -> Iterator[Step]:
    """What is missing of the runtime, in order; nothing when it is all there."""
    fresh = not installed.migrations
    if fresh:
        yield Step("roles", sqlfiles.read("roles.sql"))
    for path in sqlfiles.names("migrations"):
        name = path.removeprefix("migrations/").removesuffix(".sql")
        if name not in installed.migrations:
            recorded = sqlfiles.render("push/record_migration.sql", name=literal(name))
            yield Step(f"migration {name}", sqlfiles.read(path) + recorded)
    if fresh:
        yield Step("publication", sqlfiles.read("publication.sql"))
        for signature, sql in render_dispatchers(()).items():
            yield Step(f"dispatcher {signature}", sql)
    for path in _function_files():
        sql = sqlfiles.read(path)
        digest = hashlib.sha256(sql.encode()).hexdigest()
        if installed.hash_of("runtime", path) != digest:
            recorded = sqlfiles.render("push/record_runtime.sql", identity=literal(path), hash=literal(digest))
            yield Step(f"function {path}", sql + recorded)
    if fresh:
        yield Step("first partitions", sqlfiles.read("push/maintain.sql"))


def _function_files() -> list[str]:
    """The function files, each after those whose functions it calls: a body in SQL is bound when it is created."""
    paths = {
        (folder, path.removeprefix(f"{folder}/").removesuffix(".sql")): path
        for folder in ("pgsync_private", "pgsync")
        for path in sqlfiles.names(folder)
    }
    graph = {
        key: {called for called in _CALL.findall(sqlfiles.read(path)) if called in paths and called != key}
        for key, path in paths.items()
    }
    return [paths[key] for key in TopologicalSorter(graph).static_order()]
