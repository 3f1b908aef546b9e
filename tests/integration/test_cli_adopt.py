"""`pgsync pull`, `check` and `connect` as a user calls them: what they print where, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgsync import names
from pgsync.cli import main
from pgsync.cli.failure import EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE
from pgsync.schema import load_schema
from tests.postgres import Database, Server
from tests.sql.conftest import World, ok
from tests.sql.dump import dump

TABLES = """
CREATE TABLE members (id bigint PRIMARY KEY, organization_id text NOT NULL, name text NOT NULL);
CREATE INDEX ON members (organization_id);
CREATE TABLE countries (id text PRIMARY KEY, name text NOT NULL);
CREATE TABLE loose (a integer);
"""


@pytest.fixture
def existing(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    database.execute(TABLES)
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    return database


@pytest.fixture
def stranger(database: Database) -> Iterator[str]:
    """A role that may connect and nothing else."""
    role = f"stranger_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN")
    yield role
    database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_what_pull_prints_is_a_schema_and_the_rest_goes_to_standard_error(
    existing: Database, stranger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("pull", "--database-url", existing.dsn_as(stranger)) == 0, "catalogs are open to everybody"
    said = capsys.readouterr()
    schema = tmp_path / "schema.py"
    schema.write_text(said.out)
    assert {m.table for m in load_schema(schema).resolved.models} == {"members", "countries"}
    assert "2 models; left out, and why, in the file: 1" in said.err
    assert "without a column organization_id, shared by all organizations: Country" in said.err
    assert "public.loose is left out: it has no primary key" in said.out
    assert exit_code("check", str(schema), "--database-url", existing.dsn_as(stranger), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {(f["level"], f["object"]) for f in found} == {("notice", "public.members"), ("notice", "public.countries")}
    assert {tuple(f) for f in found} == {("level", "object", "finding", "remedy")}


def test_pull_names_what_was_asked_for_and_is_no_table(existing: Database, capsys: pytest.CaptureFixture[str]) -> None:
    existing.execute("CREATE VIEW seen AS SELECT * FROM members")
    assert exit_code("pull", "--table", "members", "--table", "seen", "--table", "mem*", "--table", "[x]*") == 0
    printed = capsys.readouterr()
    assert "class Member(" in printed.out
    assert "no table is called seen, [x]*; views, foreign tables" in printed.err


def test_pull_of_no_table_is_refused_and_prints_no_schema(
    existing: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (("--table", "memb"), ("--namespace", "nowhere"), ("--namespace", "pgsync")):
        assert exit_code("pull", *arguments) == EXIT_REFUSED
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error entity_not_found")
        assert arguments[1] in said.err
        assert "--namespace" in said.err
    assert exit_code("pull", "--table", "Memb*", "--table", "memb*") == 0


def test_check_ends_by_the_worst_that_it_finds(
    existing: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = tmp_path / "schema.py"
    text = (
        "from pgsync.schema import Model, bigint\n"
        'class Member(Model, without=["createdAt", "updatedAt", "createdBy"]):\n    id: bigint\n    name: str\n'
    )
    schema.write_text(text)
    assert exit_code("check", str(schema)) == 0
    assert capsys.readouterr().out.startswith("notice   public.members: a push sets REPLICA IDENTITY FULL")
    existing.execute("DROP INDEX members_organization_id_idx")
    assert exit_code("check", str(schema)) == 4
    said = capsys.readouterr().out
    assert "warning  public.members: no index on organization_id" in said
    assert "-> CREATE INDEX CONCURRENTLY ON public.members (organization_id)" in said
    schema.write_text(text.replace("name: str", "name: int"))
    assert exit_code("check", str(schema)) == 5
    assert "column name is text, field name says integer" in capsys.readouterr().out
    assert exit_code("check", str(tmp_path / "nowhere.py")) == EXIT_REFUSED
    assert capsys.readouterr().err.startswith("error invalid_schema")


@pytest.mark.parametrize("command", [("pull",), ("check", "SCHEMA"), ("connect",), ("push", "SCHEMA"), ("doctor",)])
def test_database_out_of_reach_and_one_that_is_not_named(
    server: Server,
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    schema = tmp_path / "schema.py"
    schema.write_text("from pgsync.schema import Model\nclass Note(Model):\n    text: str\n")
    arguments = [str(schema) if word == "SCHEMA" else word for word in command]
    missing = make_conninfo(server.dsn, dbname="nowhere")
    nobody = make_conninfo(server.dsn, user="nobody_at_all", password="x")
    for url in ("postgresql://127.0.0.1:1/none", missing, nobody):
        assert exit_code(*arguments, "--database-url", url) == EXIT_UNREACHABLE
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error connected_database_unreachable")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert exit_code(*arguments) == EXIT_USAGE
    assert "DATABASE_URL" in capsys.readouterr().err
    assert exit_code(*arguments, "--database-url", "pass word is secret") == EXIT_USAGE
    told = capsys.readouterr().err
    assert "is no connection string" in told
    assert "secret" not in told


def test_event_trigger_of_others_that_refuses_is_named_as_one(
    existing: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("pull", "--table", "members") == 0
    schema = tmp_path / "schema.py"
    schema.write_text(capsys.readouterr().out)
    existing.execute(
        "CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''no DDL here: %%'', tg_tag; END'; CREATE EVENT TRIGGER guard ON ddl_command_end"
        " WHEN TAG IN ('CREATE TRIGGER', 'DROP TRIGGER', 'DROP SCHEMA') EXECUTE FUNCTION guard()".replace("%%", "%")
    )
    assert exit_code("push", str(schema)) == EXIT_REFUSED
    assert "no DDL here: CREATE TRIGGER; a trigger or event trigger of this database" in capsys.readouterr().err
    assert existing.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgsync%'") == [(0,)]
    existing.execute("ALTER EVENT TRIGGER guard DISABLE")
    assert exit_code("push", str(schema)) == 0
    existing.execute("ALTER EVENT TRIGGER guard ENABLE")
    assert exit_code("uninstall", "--run", "--yes") == EXIT_REFUSED
    assert "do: an event trigger of this database refuses it" in capsys.readouterr().err
    existing.execute("DROP EVENT TRIGGER guard")
    assert exit_code("uninstall", "--run", "--yes") == 0


def test_push_of_who_owns_nothing_says_what_it_lacks(
    existing: Database, stranger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("pull", "--table", "members") == 0
    schema = tmp_path / "schema.py"
    schema.write_text(capsys.readouterr().out)
    assert exit_code("push", str(schema), "--database-url", existing.dsn_as(stranger)) == EXIT_REFUSED
    assert "push as the owner of the tables" in capsys.readouterr().err
    assert existing.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgsync%'") == [(0,)]
    assert exit_code("push", str(schema)) == 0
    capsys.readouterr()
    for command in (("push", str(schema)), ("doctor",), ("status",), ("slots",), ("uninstall", "--run", "--yes")):
        assert exit_code(*command, "--database-url", existing.dsn_as(stranger)) == EXIT_REFUSED
        told = capsys.readouterr().err
        assert "permission denied for " in told
        assert "do: connect as a superuser, or as the role that pushes" in told
    assert exit_code("uninstall", "--run", "--yes") == 0
    capsys.readouterr()
    assert exit_code("connect", "--pusher", "nobody_at_all", "--no-passwords") == EXIT_REFUSED
    said = capsys.readouterr()
    assert 'role "nobody_at_all" does not exist' in said.err
    assert said.out == ""


def test_database_that_lets_nobody_in_lets_the_gateway_in_and_is_as_before_afterwards(
    existing: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    existing.execute(f"REVOKE ALL ON DATABASE {existing.name} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC")
    before = dump(existing, "--create")
    assert exit_code("connect") == 0
    settings = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert exit_code("pull", "--table", "members") == 0
    schema = tmp_path / "schema.py"
    schema.write_text(capsys.readouterr().out)
    assert exit_code("push", str(schema)) == 0
    with psycopg.connect(settings["PGSYNC_LISTENER_URL"]) as listener:
        assert listener.info.user == names.LISTENER
    world = World(existing)
    ok(world.caller().create("members", "1", {"name": "ada"}))
    assert world.caller().read("SELECT name FROM members") == ["ada"]
    world.close()
    existing.execute("TRUNCATE members")
    assert exit_code("uninstall", "--run", "--yes") == 0
    assert dump(existing, "--create") == before
