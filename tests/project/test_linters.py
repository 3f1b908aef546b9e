"""What we ship and generate passes other people's linters, and each exception from their rules is needed."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import lru_cache

import pytest

from pgsync import sqlfiles
from pgsync.compile import bundle_files, compile_schema
from tests.golden.cases import CASES, golden, schema_of
from tests.linters import (
    CONFIGURED,
    OF_PARTS,
    as_psql_sends,
    as_psycopg_sends,
    misparsed,
    plain_files,
    queries,
    squawk,
    squawk_files,
)

FILES = "sql/**/*.sql"
IGNORE = re.compile(r"^ *-- squawk-ignore(?:-file)? (.*)$", re.MULTILINE)
BROKEN = {
    "require-concurrent-index-creation": "CREATE INDEX IF NOT EXISTS x ON public.elsewhere (title);",
    "constraint-missing-not-valid": "ALTER TABLE public.elsewhere ADD CONSTRAINT x CHECK (title <> '');",
    "adding-required-field": "ALTER TABLE public.elsewhere ADD COLUMN IF NOT EXISTS x text NOT NULL;",
    "changing-column-type": "ALTER TABLE public.elsewhere ALTER COLUMN title TYPE integer;",
    "ban-drop-table": "DROP TABLE IF EXISTS public.elsewhere;",
}


@lru_cache(maxsize=1)
def scripts() -> dict[str, str]:
    """Each golden and each file of each bundle, as psql sends it."""
    found = {f"golden {name}": golden(name).read_text(encoding="utf-8") for name in CASES}
    for name in CASES:
        bundle = compile_schema(schema_of(name).resolved)
        for migrate in (True, False):
            for file, text in bundle_files(bundle, migrate=migrate).items():
                found[f"{file} of {name}, {'with' if migrate else 'without'} tables"] = text
    return {name: as_psql_sends(text) for name, text in found.items()}


def parameterized() -> dict[str, str]:
    """The queries with parameters, as psycopg sends them."""
    return {name: as_psycopg_sends(sqlfiles.read(name)) for name in queries()}


def test_files_pass_squawk_as_it_is_configured() -> None:
    assert len([*plain_files()]) > 150
    assert squawk_files([FILES]) == []


def test_scripts_and_queries_pass_squawk() -> None:
    assert len(parameterized()) >= 4
    beside_templates = {
        name: sqlfiles.read(name)
        for name in plain_files()
        if any(fnmatch(f"sql/{name}", pattern) for pattern in CONFIGURED["excluded_paths"])
    }
    assert len(beside_templates) >= 6
    beside_templates["connect/wal_level.sql"] = beside_templates["connect/limits.sql"] + sqlfiles.read(
        "connect/wal_level.sql"
    )
    assert squawk(scripts() | parameterized() | beside_templates) == []


@pytest.mark.parametrize("rule", CONFIGURED["excluded_rules"])
def test_each_rule_that_is_let_go_would_be_broken(rule: str) -> None:
    assert rule in {f.rule for f in squawk_files([FILES], without=[rule])}
    if rule not in OF_PARTS:
        assert rule in {f.rule for f in squawk(scripts(), without=[rule])}


def test_each_ignored_rule_would_be_broken_there() -> None:
    ignoring = {name: text for name, text in scripts().items() if "-- squawk-ignore-file" in text}
    ignoring |= {name: sqlfiles.read(name) for name in plain_files() if IGNORE.search(sqlfiles.read(name))}
    assert len(ignoring) >= 9
    bare = {name: IGNORE.sub("", text) for name, text in ignoring.items()}
    found = squawk(
        {
            name: f"BEGIN;\nSET lock_timeout = '1s';\nSET statement_timeout = '1s';\n{text}"
            for name, text in bare.items()
        }
    )
    for name, text in ignoring.items():
        ignored = {rule for rules in IGNORE.findall(text) for rule in rules.split(", ")}
        assert ignored <= {f.rule for f in found if f.file == name}, name


@pytest.mark.parametrize("rule", BROKEN)
def test_squawk_finds_what_would_stop_a_busy_database(rule: str) -> None:
    golden_text = scripts()["golden tasks"]
    found = squawk({"broken": golden_text.replace("COMMIT;", f"{BROKEN[rule]}\nCOMMIT;")})
    assert rule in {f.rule for f in found}


def test_everything_is_what_postgres_parses() -> None:
    texts = {**{name: sqlfiles.read(name) for name in plain_files()}, **parameterized(), **scripts()}
    assert [problem for name, text in texts.items() for problem in misparsed(name, text)] == []


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("pgsync/commit_v1.sql", "CREATE OR REPLACE", "CREATE AND REPLACE"),
        ("pgsync_private/commit.sql", "  RETURN ", "  RETURNS "),
        ("pgsync_private/commit.sql", "FROM pgsync_private", "FORM pgsync_private"),
        ("pgsync_private/iso.sql", "pg_catalog.to_char", "to char"),
        ("migrations/0007_edges.sql", "SELECT NULL::text", "SELCT NULL::text"),
        ("publication.sql", "END IF", "ENDIF"),
    ],
)
def test_a_slip_anywhere_in_a_file_is_found(name: str, before: str, after: str) -> None:
    text = sqlfiles.read(name)
    assert before in text
    assert misparsed(name, text) == []
    assert misparsed(name, text.replace(before, after, 1))


def test_commands_of_psql_are_known_or_refused() -> None:
    script = "SELECT 1 AS one\n\\gset\n\\if :one\nSELECT :'one';\n\\endif\n"
    assert as_psql_sends(script) == "SELECT 1 AS one\n;\n\nSELECT 't';\n\n"
    with pytest.raises(ValueError, match="copy"):
        as_psql_sends("SELECT 'DROP TABLE x'\n\\copy\n")
