"""The SQL that a DBA reviews is the SQL that runs."""

from __future__ import annotations

import pytest

from pgsync.compile.functions import DISPATCHERS
from pgsync.push import install
from tests.golden.cases import CASES, golden
from tests.postgres import Database
from tests.sql.dump import dump, psql


@pytest.mark.parametrize("name", CASES)
def test_golden_applies_with_psql_and_a_second_time_changes_nothing(database: Database, name: str) -> None:
    install(database.dsn)
    script = golden(name).read_text(encoding="utf-8")
    psql(database, script)
    once = dump(database, "--schema-only")
    psql(database, script)
    assert dump(database, "--schema-only") == once
    assert "CREATE POLICY pgsync_select" in once


@pytest.mark.parametrize("name", CASES)
def test_undo_of_a_golden_leaves_tables_and_nothing_of_ours_on_them(database: Database, name: str) -> None:
    install(database.dsn)
    script = golden(name).read_text(encoding="utf-8")
    psql(database, script)
    undo = [line[5:] for line in script.split("\n") if line.startswith("--   ")]
    psql(database, "BEGIN;\n" + "\n".join(undo) + "\nCOMMIT;\n")
    assert database.execute("SELECT count(*) FROM pg_policy") == [(0,)]
    assert database.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]
    assert database.execute("SELECT count(*) FROM pg_class WHERE relrowsecurity OR relreplident NOT IN ('d', 'n')") == [
        (0,)
    ]
    left = "SELECT proname FROM pg_proc WHERE pronamespace = 'pgsync_generated'::regnamespace ORDER BY 1"
    assert database.execute(left) == [(name,) for name in sorted(DISPATCHERS)]
