"""A push that kills itself at one of its statements, by its own pid, as `kill -9` would.

python -m tests.integration.push_process CONNINFO CHANGE STATEMENT HOW

HOW is `before` the statement is sent, or `during` it: the server goes on with it and finds nobody to tell. Statement 0
is none; then the push ends, and how many statements it ran is printed.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

import psycopg

from pgsync.push import push
from tests.integration.changes import CHANGES


def main() -> None:
    dsn, change, stop, how = sys.argv[1], CHANGES[sys.argv[2]], int(sys.argv[3]), sys.argv[4]
    numbers = itertools.count(1)
    reached = 0
    execute = psycopg.Connection.execute

    def counted(connection: psycopg.Connection[Any], query: Any, *more: Any, **options: Any) -> Any:
        nonlocal reached
        reached = next(numbers)
        if reached == stop:
            if how == "during" and isinstance(query, bytes):
                connection.pgconn.send_query(query)
                while connection.pgconn.flush():
                    pass
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(connection, query, *more, **options)

    psycopg.Connection.execute = counted  # type: ignore[method-assign,assignment]
    push(dsn, change.after(), wishes=change.wishes)
    sys.stdout.write(f"{reached}\n")


if __name__ == "__main__":
    main()
