"""Contestants in rounds: each is measured once per round, and what counts is how they compare within a round.

A slow minute of the machine then hits all of them alike. Medians are reported with the smallest and the largest value.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.postgres import Server

DEFAULT_ROUNDS: Final = 5
DEFAULT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run was asked for.

    `seconds` is how long one measurement takes where the load runs by time, `size` how much there is to do where it
    runs to an end. `only`: cases whose name holds this text.
    """

    server: Server
    rounds: int = DEFAULT_ROUNDS
    seconds: float = DEFAULT_SECONDS
    size: int = 0
    only: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a measurement gives: `name` is the key in what a contestant returns."""

    name: str
    unit: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do the work; `measure` does it once and returns its figures. `note`: what it does exactly."""

    name: str
    measure: Callable[[], Mapping[str, float]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Direction:
    """How the ratio of a contestant to the first one should come out."""

    contestant: str
    comparison: Literal[">=", "<="]
    ratio: float

    def is_met(self, ratio: float) -> bool:
        """Whether this ratio is on the right side."""
        return ratio >= self.ratio if self.comparison == ">=" else ratio <= self.ratio


@dataclass(frozen=True, slots=True)
class Case:
    """Contestants under the same load. The first one is what the others are compared with, by the first figure."""

    name: str
    figures: Sequence[Figure]
    contestants: Sequence[Contestant]
    directions: Sequence[Direction] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; `cases` prepares the server, yields the cases and cleans up.

    `size` and `rounds` are the defaults of the `Setting`. `method` says how it is measured, where the reader
    could wonder.
    """

    name: str
    asks: str
    method: str
    cases: Callable[[Setting], AbstractContextManager[Sequence[Case]]]
    size: int = 0
    rounds: int = DEFAULT_ROUNDS


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of all rounds, in the order of the rounds."""

    median: float
    smallest: float
    largest: float
    rounds: list[float]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """What these values amount to."""
        return cls(statistics.median(values), min(values), max(values), list(values))


@dataclass(frozen=True, slots=True)
class Standing:
    """How one contestant did. `ratio` is to the first contestant, None for that one itself."""

    name: str
    note: str
    figures: dict[str, Spread]
    ratio: Spread | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A direction and what came out."""

    contestant: str
    direction: str
    ratio: float
    met: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case after all rounds."""

    name: str
    figures: list[Figure]
    standings: list[Standing]
    verdicts: list[Verdict] = field(default_factory=list)


def run(question: Question, setting: Setting, report: Callable[[str], None]) -> list[Outcome]:
    """Measures every contestant of every case once per round; `report` hears of each measurement.

    The order of the contestants turns by one from round to round, so that nobody is always measured after the same one.
    """
    with question.cases(setting) as all_cases:
        cases = [case for case in all_cases if setting.only in case.name]
        if not cases:
            raise ValueError(f"no case of {question.name} is named like {setting.only!r}")
        measured: dict[tuple[str, str], list[Mapping[str, float]]] = {}
        for number in range(setting.rounds):
            for case in cases:
                turn = number % len(case.contestants)
                for contestant in [*case.contestants[turn:], *case.contestants[:turn]]:
                    figures = contestant.measure()
                    measured.setdefault((case.name, contestant.name), []).append(figures)
                    said = ", ".join(f"{figures[f.name]:,.{f.digits}f} {f.unit}" for f in case.figures)
                    report(f"round {number + 1}/{setting.rounds}  {case.name}  {contestant.name}: {said}")
    return [_outcome(case, measured) for case in cases]


def _outcome(case: Case, measured: Mapping[tuple[str, str], list[Mapping[str, float]]]) -> Outcome:
    main = case.figures[0].name
    base = [figures[main] for figures in measured[case.name, case.contestants[0].name]]
    standings: list[Standing] = []
    for contestant in case.contestants:
        rounds = measured[case.name, contestant.name]
        values = {figure.name: Spread.of([figures[figure.name] for figures in rounds]) for figure in case.figures}
        ratio = None
        if contestant is not case.contestants[0]:
            ratio = Spread.of([figures[main] / other for figures, other in zip(rounds, base, strict=True)])
        standings.append(Standing(contestant.name, contestant.note, values, ratio))
    outcome = Outcome(case.name, list(case.figures), standings)
    for direction in case.directions:
        ratio = next(s.ratio for s in standings if s.name == direction.contestant)
        assert ratio is not None
        outcome.verdicts.append(
            Verdict(
                direction.contestant,
                f"{direction.comparison} {direction.ratio}",
                ratio.median,
                direction.is_met(ratio.median),
            )
        )
    return outcome
