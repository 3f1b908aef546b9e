"""The SQL that a DBA reviews is the SQL that runs."""

from __future__ import annotations

import pytest

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
