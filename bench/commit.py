"""What a guarded commit costs in the database: pgbench calls our functions, and updates the same row without pgsync."""

from __future__ import annotations

import contextlib
import math
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from bench.harness import Case, Contestant, Direction, Figure, Question, Setting
from bench.world import APPLICATION, SQL, prepared
from pgsync import names
from tests.postgres import Database

CLIENTS: Final = (1, 16)
BATCH: Final = 16  # as in sql/commit/commit_batch_v1.sql


def measure(
    database: Database, script: str, role: str, clients: int, setting: Setting, per_call: int
) -> dict[str, float]:
    """One run of pgbench, for a time or for `setting.size` calls of each client.

    Raises when a transaction failed: a retried or refused one is not what is measured.
    """
    amount = ["-t", str(setting.size)] if setting.size else ["-T", str(math.ceil(setting.seconds))]
    said = subprocess.run(
        [
            database.server.program("pgbench"),
            "-n",
            "-M", "prepared",
            "-c", str(clients),
            "-j", str(min(clients, os.cpu_count() or 1)),
            *amount,
            "-f", SQL / "commit" / f"{script}.sql",
            database.dsn_as(role),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    rate = re.search(r"^tps = ([\d.]+)", said.stdout, re.MULTILINE)
    latency = re.search(r"^latency average = ([\d.]+) ms", said.stdout, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", said.stdout, re.MULTILINE)
    if said.returncode != 0 or rate is None or latency is None or (failed is not None and failed[1] != "0"):
        raise RuntimeError(f"pgbench {script} failed:\n{said.stdout}{said.stderr}")
    return {"commits": float(rate[1]) * per_call, "latency": float(latency[1])}


@contextlib.contextmanager
def cases(setting: Setting) -> Iterator[Sequence[Case]]:
    """The same five contestants with one client and with sixteen."""
    with prepared(setting.server) as database:

        def contestant(name: str, script: str, role: str, note: str, per_call: int = 1) -> Contestant:
            return Contestant(name, partial(measure, database, script, role, clients, setting, per_call), note)

        found: list[Case] = []
        for clients in CLIENTS:
            found.append(
                Case(
                    name=f"{clients} client{'s' if clients > 1 else ''}",
                    figures=[Figure("commits", "per s"), Figure("latency", "ms per call", 2)],
                    contestants=[
                        contestant("bare UPDATE", "bare_update", APPLICATION, "the same columns, without pgsync"),
                        contestant(
                            "synced UPDATE",
                            "synced_update",
                            APPLICATION,
                            "direct SQL on the synced table: triggers, change log, message",
                        ),
                        contestant(
                            "write_v1", "write_v1", names.GATEWAY, "one operation, as the single-row routes call it"
                        ),
                        contestant(
                            "commit_v1", "commit_v1", names.GATEWAY, "one operation, as the commits route calls it"
                        ),
                        contestant(
                            f"commit_batch_v1 x{BATCH}",
                            "commit_batch_v1",
                            names.GATEWAY,
                            f"{BATCH} commits per call, each with its own key; latency is of the call",
                            BATCH,
                        ),
                    ],
                    directions=[Direction("write_v1", ">=", 0.5), Direction("commit_v1", ">=", 0.5)],
                )
            )
        yield found


QUESTION: Final = Question(
    name="commit",
    asks="What does a commit through pgsync cost in the database, against an UPDATE of the same table without it?",
    method="pgbench in prepared mode; each call, one transaction of its own, gives a random row of 1,000 a new title.",
    cases=cases,
)
