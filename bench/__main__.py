"""`python -m bench QUESTION`: runs one question, prints its table, writes its result."""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import machine
from bench.harness import DEFAULT_ROUNDS, DEFAULT_SECONDS, Question, Setting, run
from bench.report import markdown
from tests.postgres import CHOICES, DEFAULT, DURABLE_SETTINGS, run_server

QUESTIONS: Final = ("commit", "http", "decode", "echo", "deliver", "latency")


def find_question(name: str) -> Question:
    """The question in the module of this name."""
    question = importlib.import_module(f"bench.{name}").QUESTION
    assert isinstance(question, Question)
    return question


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; 0 also when a direction is not met: that is a result, not a failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure pgsync against what others do.")
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("--postgres", default=DEFAULT, metavar="SERVER", help=f"{CHOICES} (default: {DEFAULT})")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the result here, and its table beside it as .md"
    )
    parser.add_argument("--rounds", type=int, default=0, help=f"default: as the question, mostly {DEFAULT_ROUNDS}")
    parser.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, help=f"of one measurement (default: {DEFAULT_SECONDS:g})"
    )
    parser.add_argument(
        "--size",
        type=int,
        default=0,
        help="changes to decode, samples to take, calls to make instead of --seconds (default: as the question)",
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name holds this text")
    given = parser.parse_args(arguments)
    question = find_question(given.question)

    started_at, load_before = datetime.now(UTC), machine.load_average()
    with run_server(given.postgres, settings=DURABLE_SETTINGS) as server:
        rounds = given.rounds or question.rounds
        setting = Setting(server, rounds, given.seconds, given.size or question.size, given.only)
        outcomes = run(question, setting, lambda line: print(line, file=sys.stderr, flush=True))
        result = {
            "question": question.name,
            "asks": question.asks,
            "method": question.method,
            "command": " ".join(["python -m bench", *(sys.argv[1:] if arguments is None else arguments)]),
            "started_at": started_at.isoformat(timespec="seconds"),
            "source": machine.describe_source(),
            "machine": machine.describe_machine(),
            "server": machine.describe_server(server),
            "load_average": {"before": load_before, "after": machine.load_average()},
            "rounds": setting.rounds,
            "seconds": setting.seconds,
            "size": setting.size,
            "cases": [asdict(outcome) for outcome in outcomes],
        }
    table = markdown(result, outcomes)
    print(table)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
        given.json.with_suffix(".md").write_text(table)
    return 0


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)  # so that what was started is ended, too
    sys.exit(main())
