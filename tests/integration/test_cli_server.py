"""`pgsync connect` and `pgsync uninstall` against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgsync.cli import main
from pgsync.cli.failure import EXIT_REFUSED
from pgsync.push.connect import connect
from tests.postgres import Database
from tests.sql.dump import dump

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "tasks" / "schema.py")


@pytest.fixture(autouse=True)
def target(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database.dsn)


@pytest.fixture
def admin(database: Database) -> Iterator[str]:
    """A role that may create roles and is no superuser, as a provider gives its customers."""
    role = f"admin_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN CREATEROLE REPLICATION")
    yield role
    database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def verifiers(database: Database) -> list[tuple[str, str]]:
    return database.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'pgsync%' ORDER BY 1")


def test_connect_makes_the_roles_and_shows_their_connection_strings_once(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("connect") == 0
    told = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    for name, role in (("PGSYNC_DATABASE_URL", "pgsync_gateway"), ("PGSYNC_LISTENER_URL", "pgsync_listener")):
        with psycopg.connect(told[name]) as connection:
            assert (connection.info.user, connection.info.dbname) == (role, database.name)
            password = connection.info.password
        # The server has the verifier that belongs to this password.
        stored = dict(verifiers(database))[role]
        assert stored.startswith("SCRAM-SHA-256$")
        assert password
        assert password not in stored


def test_show_sql_touches_nothing_and_what_it_shows_runs(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    before = verifiers(database)
    assert exit_code("connect", "--show-sql", "--pusher", "postgres") == 0
    shown = capsys.readouterr().out
    assert verifiers(database) == before
    assert "CREATE ROLE pgsync_gateway LOGIN" in shown
    assert "GRANT CREATE ON DATABASE" in shown
    database.execute(shown)


def test_role_that_connect_lets_push_needs_to_be_no_superuser(database: Database, admin: str) -> None:
    database.execute(f"GRANT CREATE ON SCHEMA public TO {admin}")
    connect(database.dsn, pusher=admin, set_passwords=False)
    assert exit_code("push", EXAMPLE, "--migrate", "--database-url", database.dsn_as(admin)) == 0


def test_role_that_may_not_create_roles_is_told_so(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("connect") == 0
    capsys.readouterr()
    assert exit_code("connect", "--database-url", database.dsn_as("pgsync_listener")) == EXIT_REFUSED
    assert "may not create roles" in capsys.readouterr().err


def test_uninstall_prints_what_it_would_run_and_runs_it_when_told_to(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dump(database)
    assert exit_code("push", EXAMPLE, "--migrate") == 0
    capsys.readouterr()
    installed = dump(database)
    assert exit_code("uninstall") == 0
    assert "DROP PUBLICATION IF EXISTS pgsync;" in capsys.readouterr().out
    assert dump(database) == installed
    assert exit_code("uninstall", "--run", "--yes") == 0
    database.execute("DROP TABLE comments, tasks, projects")
    assert dump(database) == before


def test_uninstall_that_is_refused_says_why_and_removes_nothing(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("push", EXAMPLE, "--migrate") == 0
    database.execute("CREATE VIEW mine AS SELECT pgsync.organization_id()")
    installed = dump(database)
    assert exit_code("uninstall", "--run", "--yes") == EXIT_REFUSED
    assert "nothing was removed" in capsys.readouterr().err
    assert dump(database) == installed
