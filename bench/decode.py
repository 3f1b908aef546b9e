"""How fast the stream catches up with the log: our reader, `pg_recvlogical`, and the SQL function that reads a slot."""

from __future__ import annotations

import contextlib
import resource
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.child import module, started
from bench.harness import Case, Contestant, Direction, Figure, Question, Setting
from bench.world import prepared
from pgsync import names
from tests.postgres import Database

BULK_TRANSACTIONS: Final = 100
OPTIONS: Final = {"proto_version": "1", "publication_names": names.PUBLICATION, "messages": "true"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the log with this many changes: `slot` stands before it and is never read, only copied."""

    database: Database
    slot: str
    end_lsn: str
    changes: int

    @contextlib.contextmanager
    def copied_slot(self) -> Iterator[str]:
        """A slot of the contestant's own at the beginning of the stretch."""
        name = f"bench_{secrets.token_hex(4)}"
        self.database.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", [self.slot, name])
        try:
            yield name
        finally:
            self.database.execute("SELECT pg_drop_replication_slot(%s)", [name])


def write(database: Database, transactions: int, rows: int) -> Stretch:
    """Updates rows by plain SQL; nobody waits for the disk meanwhile, this is not what is measured."""
    slot = f"bench_{secrets.token_hex(4)}"
    database.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    with database.connect() as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(f"CALL bench.write_transactions({transactions}, {rows})")
        # The insert position may stand behind a page's header, where no record ends: this one's end is one.
        (end_lsn,) = connection.execute(
            "SELECT pg_logical_emit_message(true, 'bench', 'the end')::text"
        ).fetchone() or ("",)
        connection.execute("SET synchronous_commit = on")
        connection.execute("SELECT pg_logical_emit_message(true, 'bench', 'flushed')")
    database.execute("CHECKPOINT")
    return Stretch(database, slot, str(end_lsn), transactions * rows)


def with_pgsync(stretch: Stretch) -> Mapping[str, float]:
    """Our reader in a process of its own."""
    with stretch.copied_slot() as slot:
        conninfo = stretch.database.dsn_as(names.LISTENER)
        with started("read_slot", module("bench.read_slot", conninfo, slot, stretch.end_lsn)) as child:
            child.wait_ready()
            found = child.result()
            child.process.wait()
        if found["changes"] != stretch.changes:
            raise RuntimeError(f"read {found['changes']} changes, {stretch.changes} were written")
        return _figures(stretch, found["seconds"], found["cpu_seconds"])


def with_recvlogical(stretch: Stretch) -> Mapping[str, float]:
    """`pg_recvlogical` with the same options, its output thrown away."""
    with stretch.copied_slot() as slot:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.monotonic()
        subprocess.run(
            [
                stretch.database.server.program("pg_recvlogical"),
                "--start",
                "--slot", slot,
                "--endpos", stretch.end_lsn,
                "--no-loop",
                *(part for name, value in OPTIONS.items() for part in ("--option", f"{name}={value}")),
                "--file", "/dev/null",
                "--dbname", stretch.database.dsn,
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip
        seconds = time.monotonic() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return _figures(stretch, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def with_sql(stretch: Stretch) -> Mapping[str, float]:
    """`pg_logical_slot_get_binary_changes`, with the result counted in the server."""
    with stretch.copied_slot() as slot, stretch.database.connect() as connection:
        options = [part for pair in OPTIONS.items() for part in pair]
        begun = time.monotonic()
        connection.execute(
            "SELECT count(*), sum(length(data))"
            " FROM pg_logical_slot_get_binary_changes(%s, %s, NULL, VARIADIC %s::text[])",
            [slot, stretch.end_lsn, options],
        ).fetchall()
        return _figures(stretch, time.monotonic() - begun, 0.0)


def _figures(stretch: Stretch, seconds: float, cpu_seconds: float) -> dict[str, float]:
    return {"changes": stretch.changes / seconds, "reader_cpu": cpu_seconds / seconds * 100}


@contextlib.contextmanager
def cases(setting: Setting) -> Iterator[Sequence[Case]]:
    """The same number of changes, one to a transaction and in a hundred transactions."""
    with prepared(setting.server) as database:
        bulk = min(BULK_TRANSACTIONS, setting.size)
        stretches = {
            f"{setting.size:,} transactions of one row": (setting.size, 1),
            f"{bulk} transactions of {setting.size // bulk:,} rows": (bulk, setting.size // bulk),
        }

        def contestant(name: str, measure: Callable[[Stretch], Mapping[str, float]], note: str) -> Contestant:
            return Contestant(name, partial(measure, stretch), note)

        found: list[Case] = []
        for case_name, (transactions, rows) in stretches.items():
            if setting.only not in case_name:
                continue
            stretch = write(database, transactions, rows)
            found.append(
                Case(
                    name=case_name,
                    figures=[Figure("changes", "per s"), Figure("reader_cpu", "% of a core")],
                    contestants=[
                        contestant("pg_recvlogical", with_recvlogical, "to /dev/null, whole process"),
                        contestant("pgsync", with_pgsync, "connect, decode, group, JSON of eight columns"),
                        contestant(
                            "pg_logical_slot_get_binary_changes",
                            with_sql,
                            "counted in the server: nothing leaves it, nothing is decoded on the other side",
                        ),
                    ],
                    directions=[Direction("pgsync", ">=", 0.8)],
                )
            )
        yield found


QUESTION: Final = Question(
    name="decode",
    asks="How fast does the stream catch up with the log, against Postgres's own readers?",
    method="Each contestant reads a fresh copy of the same slot, so the same stretch of log from beginning to end,"
    " with the same output plugin and options. The updates are plain SQL on a synced table of eight columns.",
    cases=cases,
    size=100_000,
)
