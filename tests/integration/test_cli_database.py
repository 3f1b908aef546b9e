"""`pgsync push` and `pgsync keys` against a real database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgsync import keys
from pgsync.cli import main
from pgsync.cli.failure import EXIT_NOT_IN_SYNC, EXIT_REFUSED, EXIT_UNREACHABLE
from tests.postgres import Database
from tests.sql.dump import psql

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "tasks" / "schema.py")


@pytest.fixture(autouse=True)
def target(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database.dsn)


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def namespaces(database: Database) -> int:
    (row,) = database.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgsync%'")
    return int(row[0])


def test_a_dry_run_prints_what_a_push_then_runs(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("push", EXAMPLE, "--migrate", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert namespaces(database) == 0
    database.execute(printed)
    assert namespaces(database) == 3
    assert exit_code("push", EXAMPLE) == 0
    assert capsys.readouterr().out.startswith("unchanged: version 1")


def test_a_second_push_of_the_same_schema_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("push", EXAMPLE, "--migrate") == 0
    assert capsys.readouterr().out.startswith("pushed version 1")
    assert exit_code("push", EXAMPLE) == 0
    assert capsys.readouterr().out.startswith("unchanged: version 1")


def test_memberships_that_clients_may_write_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "schema.py"
    file.write_text(
        "from pgsync.schema import Field, Model, Ref, Schema\n"
        "class Person(Model):\n    name: str\n"
        "class Team(Model, scope=True):\n    name: str\n"
        "class Member(Model, grants=('person', 'team')):\n"
        "    person_id: Ref[Person] = Field(fk=False)\n    team_id: Ref[Team] = Field(fk=False)\n"
        "schema = Schema(Person, Team, Member)\n"
    )
    assert exit_code("push", str(file), "--migrate", "--dry-run") == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert "members" in warning
    assert "mutable=False" in warning


def test_missing_tables_are_named_when_they_may_not_be_created(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("push", EXAMPLE) == EXIT_REFUSED
    said = capsys.readouterr().err
    assert said.startswith("error model_not_provisioned")
    assert "tasks" in said
    assert "pgsync migrate" in said
    assert "--migrate" in said


def test_a_database_out_of_reach_has_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("push", EXAMPLE, "--database-url", "postgresql://127.0.0.1:1/none") == EXIT_UNREACHABLE
    assert capsys.readouterr().err.startswith("error connected_database_unreachable")


def test_a_key_is_shown_once_stored_as_a_hash_listed_without_it_and_revoked(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("push", EXAMPLE, "--migrate") == 0
    capsys.readouterr()
    assert exit_code("keys", "create", "--organization", "acme", "--user", "ada", "--label", "Ada") == 0
    created = capsys.readouterr()
    key, key_id = created.out.strip(), created.err.split(":")[0]
    assert keys.is_wellformed(key)
    assert key.startswith("ek_")

    def status() -> object:
        ((found,),) = database.execute("SELECT pgsync.authenticate_v1(%s)", [keys.digest(key)])
        return found["participantId"], found["organizationId"], found["status"]

    assert status() == ("ada", "acme", "active")
    assert exit_code("keys", "list") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("\t") == [key_id, "ek", "active", "acme", "user:ada", "never expires", "Ada"]
    assert exit_code("keys", "revoke", key_id) == 0
    assert status() == ("ada", "acme", "revoked")
    capsys.readouterr()
    assert exit_code("keys", "revoke", key_id) == EXIT_REFUSED
    assert key_id in capsys.readouterr().err


def test_a_key_may_be_narrow_and_short_lived(database: Database) -> None:
    assert exit_code("push", EXAMPLE, "--migrate") == 0
    narrow = ("--operation", "task.read", "--group", "org:acme", "--expires-in-hours", "1")
    assert exit_code("keys", "create", "--organization", "acme", "--agent", "bot", *narrow) == 0
    ((found,),) = database.execute("SELECT c FROM pgsync.credentials_v1() AS c")
    assert (found["keyKind"], found["operations"], found["syncGroups"]) == ("rk", ["task.read"], ["org:acme"])
    assert found["expiresAt"] is not None


def test_keys_of_a_database_without_pgsync_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("keys", "list") == EXIT_REFUSED
    assert "pgsync push" in capsys.readouterr().err


def test_check_exits_with_3_until_the_database_is_in_sync(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("push", EXAMPLE, "--check") == EXIT_NOT_IN_SYNC
    assert "activate this version" in capsys.readouterr().out
    assert namespaces(database) == 0
    assert exit_code("migrate", EXAMPLE) == 0
    assert exit_code("push", EXAMPLE) == 0
    capsys.readouterr()
    assert exit_code("push", EXAMPLE, "--check") == 0
    assert capsys.readouterr().out.startswith("in sync: version 1")
    database.execute("DROP POLICY pgsync_select ON tasks")
    assert exit_code("push", EXAMPLE, "--check", "--json") == EXIT_NOT_IN_SYNC
    plan = json.loads(capsys.readouterr().out)
    assert (plan["inSync"], plan["steps"][-2]["lock"]) == (False, "ACCESS EXCLUSIVE")
    assert exit_code("push", EXAMPLE) == 0
    assert exit_code("push", EXAMPLE, "--check") == 0
    database.execute("ALTER TABLE tasks DROP COLUMN title CASCADE; COMMENT ON TABLE tasks IS NULL")
    assert exit_code("push", EXAMPLE, "--check") == EXIT_NOT_IN_SYNC
    assert "title" in capsys.readouterr().err


def test_migrate_writes_a_script_for_psql(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "tables.sql"
    assert exit_code("migrate", EXAMPLE, "--output", str(script)) == 0
    assert exit_code("push", EXAMPLE) == EXIT_REFUSED
    psql(database, script.read_text())
    capsys.readouterr()
    assert exit_code("migrate", EXAMPLE) == 0
    assert capsys.readouterr().out == "unchanged: the tables fit the schema\n"
    assert exit_code("push", EXAMPLE) == 0


def test_compile_writes_the_same_bundle_each_time(tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        assert exit_code("compile", EXAMPLE, "--migrate", "-o", str(tmp_path / name)) == 0
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"roles.sql", "push.sql", "concurrent.sql", "revert.sql"}


def test_a_field_is_renamed_on_the_command_line(database: Database, tmp_path: Path) -> None:
    schema = tmp_path / "schema.py"
    text = "from pgsync.schema import Model\nclass Task(Model):\n    title: str\n    note: str | None = None\n"
    schema.write_text(text)
    assert exit_code("push", str(schema), "--migrate") == 0
    database.execute("INSERT INTO tasks (organization_id, id, title) VALUES ('acme', 't1', 'kept')")
    schema.write_text(text.replace("title", "name").replace("str | None = None", "str"))
    assert exit_code("push", str(schema), "--migrate") == EXIT_REFUSED
    words = ("--rename", "task.title:name", "--backfill", "Task.note=it's 0")
    assert exit_code("push", str(schema), *words) == EXIT_REFUSED, "it does not alter tables unasked"
    assert exit_code("push", str(schema), "--migrate", *words) == 0
    assert database.execute("SELECT name, note FROM tasks") == [("kept", "it's 0")]
