"""A result as Markdown, for the terminal and for `bench/results`."""

from __future__ import annotations

from typing import Any

from bench.harness import Outcome, Spread, Standing


def markdown(result: dict[str, Any], outcomes: list[Outcome]) -> str:
    """The table of each case, with where it comes from above it."""
    machine, server, load = result["machine"], result["server"], result["load_average"]
    settings = ", ".join(f"{name}={value}" for name, value in server["settings"].items())
    source = result["source"]
    lines = [
        f"# {result['question']}",
        "",
        result["asks"],
        "",
        f"    {result['command']}",
        "",
        f"- {result['started_at']}, commit {source['commit']}{' (modified)' if source['modified'] else ''}",
        f"- {machine['cores']} cores {machine['cpu']}, {machine['memory_bytes'] / 2**30:.1f} GiB, {machine['system']},"
        f" Python {machine['python']}",
        f"- PostgreSQL {server['version']} ({server['name']}): {settings}",
        f"- load average {load['before']} before, {load['after']} after; {result['rounds']} rounds",
        "",
        result["method"],
        "",
        "Median (smallest .. largest) of the rounds; the ratio is taken within each round.",
    ]
    for outcome in outcomes:
        lines += ["", f"## {outcome.name}", "", *_table(outcome), ""]
        for verdict in outcome.verdicts:
            met = "met" if verdict.met else "NOT met"
            lines.append(f"- {verdict.contestant}: direction {verdict.direction}, is {verdict.ratio:.2f}: {met}")
        lines += [f"- {s.name}: {s.note}" for s in outcome.standings if s.note]
    return "\n".join(lines).rstrip() + "\n"


def _table(outcome: Outcome) -> list[str]:
    heads = [f"{figure.name.replace('_', ' ')} ({figure.unit})" for figure in outcome.figures]
    lines = [f"| | {' | '.join([heads[0], 'ratio', *heads[1:]])} |", "|---" * (len(heads) + 2) + "|"]
    for standing in outcome.standings:
        cells = [_spread(standing.figures[figure.name], figure.digits) for figure in outcome.figures]
        lines.append(f"| {standing.name} | {' | '.join([cells[0], _ratio(standing), *cells[1:]])} |")
    return lines


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.median:,.{digits}f} ({spread.smallest:,.{digits}f} .. {spread.largest:,.{digits}f})"


def _ratio(standing: Standing) -> str:
    return "1" if standing.ratio is None else _spread(standing.ratio, 2)
