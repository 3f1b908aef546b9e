"""Other people's judgement of our SQL: squawk's, of what it does to a busy database, and that of Postgres' own parser.

Both see what reaches a server: without psql's own commands, and with numbers for parameters.
"""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pglast
from pglast import ast

from pgsync import sqlfiles

ROOT: Final = Path(__file__).parents[1]
CONFIGURED: Final[Mapping[str, Any]] = tomllib.loads((ROOT / ".squawk.toml").read_text(encoding="utf-8"))
OF_PARTS: Final = frozenset({"require-lock-timeout", "require-statement-timeout"})
"""Rules that a part of a script cannot keep, and a whole one has to."""

_SQUAWK: Final = Path(sysconfig.get_path("scripts")) / "squawk"
_TEMPLATE: Final = re.compile(r"\{[{%]")
_PARAMETER: Final = re.compile(r"%(?:\(\w+\))?s")
_OURS: Final = re.compile(r"\b(?:pgsync|pgsync_private|pgsync_generated)\.(?=\w)")
_ARRAY_OF_OURS: Final = re.compile(r"\bpublic\.\w+\[\]")


class Finding(NamedTuple):
    """What squawk says of a line, the first being 1."""

    file: str
    line: int
    rule: str
    message: str


def plain_files() -> Iterator[str]:
    """The files of `sql/` that are SQL as they are, relative to `sqlfiles.root()`."""
    for name in all_files():
        text = sqlfiles.read(name)
        if not (_TEMPLATE.search(text) or has_parameters(name)):
            yield name


def queries() -> Iterator[str]:
    """The files of `sql/` that are SQL when they are given parameters."""
    for name in all_files():
        if has_parameters(name) and not _TEMPLATE.search(sqlfiles.read(name)):
            yield name


def all_files() -> list[str]:
    """All files of `sql/`, relative to `sqlfiles.root()`."""
    return sorted(path.relative_to(sqlfiles.root()).as_posix() for path in sqlfiles.root().rglob("*.sql"))


def has_parameters(name: str) -> bool:
    """Whether psycopg fills in values: a name in parentheses tells, or `%s` where no `format` could mean it."""
    text = sqlfiles.read(name)
    return "%(" in text or ("%s" in text and "format(" not in text)


def as_psycopg_sends(query: str) -> str:
    """A query with `$1` for each parameter, as the server gets it."""
    return _PARAMETER.sub("$1", query).replace("%%", "%")


def as_psql_sends(script: str) -> str:
    """A script without psql's own commands and with values in place of its variables; all branches of `\\if`, in order.

    Raises ValueError for a command that none of ours uses.
    """
    sent = []
    for line in script.splitlines():
        command = re.match(r"\\(\w+)", line)
        if command is None:
            sent.append(re.sub(r":'\w+'", "'t'", line))
        elif command[1] in ("gset", "gexec"):
            sent.append(";")  # it sends what stands before it; gexec then what comes back
        elif command[1] in ("if", "else", "endif"):
            sent.append("")
        else:
            raise ValueError(line)
    return "\n".join(sent) + "\n"


def squawk(scripts: Mapping[str, str], *, without: Iterable[str] = ()) -> list[Finding]:
    """What squawk says of whole scripts by name: with the rules of `.squawk.toml` and those of `OF_PARTS`.

    `without`: rules that are to be kept although the configuration lets them go.
    """
    excluded = [rule for rule in CONFIGURED["excluded_rules"] if rule not in OF_PARTS | set(without)]
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for number, (name, text) in enumerate(scripts.items()):
            path = Path(folder) / f"{number}.sql"
            path.write_text(text, encoding="utf-8")
            paths[str(path)] = name
        options = ["--no-assume-in-transaction", f"--pg-version={CONFIGURED['pg_version']}"]
        found = _run(options + ([f"--exclude={','.join(excluded)}"] if excluded else []), list(paths))
        return [f._replace(file=paths[f.file]) for f in found]


def squawk_files(patterns: Sequence[str], *, without: Iterable[str] = ()) -> list[Finding]:
    """What squawk says of files of the project, as `.squawk.toml` has it but for the rules `without`."""
    text = (ROOT / ".squawk.toml").read_text(encoding="utf-8")
    for rule in without:
        text = text.replace(f'"{rule}",', "")
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as config:
        config.write(text)
        config.flush()
        return _run([f"--config={config.name}"], patterns)


def _run(options: Sequence[str], paths: Sequence[str]) -> list[Finding]:
    said = subprocess.run(
        [_SQUAWK, "--reporter=json", *options, *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said.returncode in (0, 1), said.stderr
    assert said.stdout.startswith("["), said.stderr
    return [Finding(f["file"], f["line"] + 1, f["rule_name"], f["message"]) for f in json.loads(said.stdout)]


def misparsed(name: str, text: str) -> list[str]:
    """What Postgres' parser says of a text and of the bodies of its functions, in SQL and in PL/pgSQL."""
    try:
        statements = pglast.parse_sql(text)
    except pglast.parser.ParseError as error:
        return [f"{name}: {error}"]
    found = []
    encoded = text.encode()
    for raw in statements:
        options = {}
        if isinstance(raw.stmt, ast.CreateFunctionStmt):
            options = {option.defname: option.arg for option in raw.stmt.options or ()}
        elif isinstance(raw.stmt, ast.DoStmt):
            options = {option.defname: option.arg for option in raw.stmt.args or ()}
        if "as" not in options:
            continue
        start = raw.stmt_location or 0
        statement = encoded[start : start + raw.stmt_len if raw.stmt_len else None].decode()
        if "language" not in options or options["language"].sval == "plpgsql":
            found += _misparsed_body(name, statement)
        else:
            found += misparsed(f"{name}, body", options["as"][0].sval)
    return found


def _misparsed_body(name: str, statement: str) -> list[str]:
    # The parser stands alone: of types it knows those of pg_catalog, and for those of public it puts a record.
    statement = _ARRAY_OF_OURS.sub("text[]", _OURS.sub("public.", statement))
    try:
        pglast.parse_plpgsql(statement)
    except pglast.parser.ParseError as error:
        return [f"{name}: {error}: {statement.strip()[:80]}"]
    return []
