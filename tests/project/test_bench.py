"""The benchmarks run: every question measures all its contestants, and the result says what came out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from bench.__main__ import QUESTIONS, find_question, main
from bench.harness import Case, Contestant, Direction, Figure, Question, Setting, run
from tests.postgres import Server

TINY: Mapping[str, tuple[int, str]] = {  # size and case: enough to see that it works
    "commit": (20, "16 clients"),
    "http": (0, "16 connections"),
    "decode": (200, ""),
    "echo": (5, "idle"),
    "deliver": (20, "20 changes"),
    "latency": (5, "idle"),
}


def silent(_: str) -> None:
    pass


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_measures_every_contestant(server: Server, name: str) -> None:
    size, only = TINY[name]
    question = find_question(name)
    assert question.name == name
    outcomes = run(question, Setting(server, rounds=1, seconds=0.3, size=size, only=only), silent)
    assert outcomes
    for outcome in outcomes:
        assert only in outcome.name
        assert len(outcome.standings) >= 2
        assert outcome.verdicts, "a question without a direction"
        for standing in outcome.standings:
            assert set(standing.figures) == {figure.name for figure in outcome.figures}
            assert any(spread.median > 0 for spread in standing.figures.values())


def test_command_writes_the_result_and_its_table(server: Server, tmp_path: Path) -> None:
    written = tmp_path / "decode.json"
    arguments = ["decode", "--postgres", server.dsn, "--rounds", "2", "--size", "100", "--only", "one row"]
    assert main([*arguments, "--json", str(written)]) == 0
    result = json.loads(written.read_text())
    assert result["command"] == f"python -m bench {' '.join(arguments)} --json {written}"
    assert result["machine"]["cores"] >= 1
    assert result["server"]["version"] == server.version
    assert result["server"]["settings"]["fsync"] == "off"
    (case,) = result["cases"]
    for standing in case["standings"]:
        assert len(standing["figures"]["changes"]["rounds"]) == 2
    table = written.with_suffix(".md").read_text()
    assert "| pg_recvlogical |" in table
    assert case["verdicts"][0]["direction"] in table


def scripted(values: Mapping[str, Sequence[float]], order: list[str]) -> Question:
    """Contestants that return these values, round by round."""

    def contestant(name: str) -> Contestant:
        left = list(values[name])

        def measure() -> Mapping[str, float]:
            order.append(name)
            return {"rate": left.pop(0)}

        return Contestant(name, measure)

    @contextlib.contextmanager
    def cases(_: Setting) -> Iterator[Sequence[Case]]:
        directions = [Direction("ours", ">=", 0.5), Direction("ours", "<=", 0.5)]
        yield [Case("only case", [Figure("rate", "per s")], [contestant(name) for name in values], directions)]

    return Question("scripted", "Who is faster?", "They say so.", cases)


def test_ratio_is_taken_within_each_round(server: Server) -> None:
    question = scripted({"theirs": [100, 10, 50], "ours": [80, 8, 45]}, [])
    (outcome,) = run(question, Setting(server, rounds=3), silent)
    theirs, ours = outcome.standings
    assert theirs.ratio is None
    assert (theirs.figures["rate"].median, theirs.figures["rate"].smallest, theirs.figures["rate"].largest) == (
        50,
        10,
        100,
    )
    assert ours.ratio is not None
    assert (ours.ratio.median, ours.ratio.smallest, ours.ratio.largest) == (0.8, 0.8, 0.9)
    assert [verdict.met for verdict in outcome.verdicts] == [True, False]


def test_contestants_take_turns_to_begin(server: Server) -> None:
    order: list[str] = []
    question = scripted({name: [1.0] * 3 for name in ("theirs", "ours", "sql")}, order)
    run(question, Setting(server, rounds=3), silent)
    assert order == ["theirs", "ours", "sql", "ours", "sql", "theirs", "sql", "theirs", "ours"]


def test_a_case_that_does_not_exist_is_an_error(server: Server) -> None:
    with pytest.raises(ValueError, match="nothing like this"):
        run(scripted({"ours": [1.0]}, []), Setting(server, only="nothing like this"), silent)


@pytest.mark.parametrize("written", sorted((Path(__file__).parents[2] / "bench" / "results").glob("*.json")))
def test_committed_result_is_complete(written: Path) -> None:
    result = json.loads(written.read_text())
    assert result["rounds"] >= find_question(written.stem).rounds
    assert result["server"]["settings"]["fsync"] == "on"
    assert result["server"]["settings"]["synchronous_commit"] == "on"
    assert written.with_suffix(".md").exists()
    for case in result["cases"]:
        assert len(case["standings"]) >= 2
        assert case["verdicts"]
