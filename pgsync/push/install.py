"""What a database lacks of the runtime of pgsync."""

from __future__ import annotations

from collections.abc import Iterator

from pgsync.compile import runtime
from pgsync.push.introspect import Installed
from pgsync.push.step import Step


def install_steps(installed: Installed) -> Iterator[Step]:
    """What is missing of the runtime, in order; nothing when it is all there."""
    fresh = not installed.migrations
    if fresh:
        yield Step("roles", runtime.roles(), undo="sql/uninstall.sql")
    for migration in runtime.migrations():
        if migration.name not in installed.migrations:
            yield Step(
                f"migration {migration.name}",
                migration.sql,
                lock="none" if fresh else "ACCESS EXCLUSIVE on tables of pgsync's own",
                undo="sql/uninstall.sql",
            )
    if fresh:
        yield Step("publication", runtime.publication(), undo="DROP PUBLICATION pgsync")
        for signature, sql in runtime.first_dispatchers():
            yield Step(f"dispatcher {signature}", sql, undo="sql/uninstall.sql")
    for function in runtime.function_files():
        if installed.hash_of("runtime", function.path) != function.hash:
            yield Step(f"function {function.path}", function.sql, undo="the file of the version before")
    if fresh:
        yield Step("first partitions", runtime.first_partitions(), undo="sql/uninstall.sql")
