"""Every failure at the command line says its code, what is wrong and what to do, and has its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgsync.cli import COMMANDS, main
from pgsync.cli.failure import EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, explain
from pgsync.config import ConfigError
from pgsync.dev.embedded import EmbeddedPostgresError
from pgsync.errors import PgsyncError
from pgsync.gateway.database import UnsafeRoleError
from pgsync.stream.connect import ReplicationError


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command, "--help") == 0
    assert f"Usage: pgsync {command}" in capsys.readouterr().out


@pytest.mark.parametrize("subcommand", ["create", "list", "revoke"])
def test_each_command_on_keys_explains_itself(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("keys", subcommand, "--help") == 0
    assert f"Usage: pgsync keys {subcommand}" in capsys.readouterr().out


def test_the_list_of_commands_names_each_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} {purpose}" in said for name, purpose in COMMANDS.items())


def test_every_command_module_is_listed() -> None:
    folder = Path(__file__).parents[2] / "pgsync" / "cli"
    modules = {
        path.stem
        for path in folder.glob("*.py")
        if "\ncommand" in path.read_text() or "def command" in path.read_text()
    }
    assert modules == set(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["push"], ["push", "a.py", "--nonsense"], ["dev", "--port", "70000"], ["keys", "create"]],
)
def test_a_wrong_command_line_exits_with_2_and_points_to_the_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*arguments) == EXIT_USAGE
    said = capsys.readouterr().err
    assert said.startswith("error usage")
    assert "--help" in said


def test_a_missing_setting_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGSYNC_DATABASE_URL", raising=False)
    assert exit_code("serve") == EXIT_USAGE
    said = capsys.readouterr().err
    assert "PGSYNC_DATABASE_URL (--database-url) is not set" in said
    assert "do: give a connection string" in said


def test_a_wrong_schema_tells_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = tmp_path / "schema.py"
    schema.write_text(
        "from pgsync.schema import Model\n"
        "class Task(Model):\n    createdAt: str\n    broken: complex\n"
        "class Note(Model):\n    also_broken: bytes | complex\n"
    )
    assert exit_code("compile", str(schema)) == EXIT_REFUSED
    said = capsys.readouterr().err
    assert said.startswith("error invalid_schema")
    for name in ("createdAt", "broken", "also_broken"):
        assert name in said


def test_a_schema_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("compile", "nowhere/schema.py") == EXIT_REFUSED
    assert "nowhere/schema.py" in capsys.readouterr().err


def test_compile_prints_the_same_sql_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    example = str(Path(__file__).parents[2] / "examples" / "tasks" / "schema.py")
    printed = []
    for _ in range(2):
        assert exit_code("compile", example) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "CREATE" in printed[0]


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (PgsyncError("incompatible_change", "no"), "incompatible_change", EXIT_REFUSED),
        (ConfigError("X is not set; set it"), "configuration", EXIT_USAGE),
        (EmbeddedPostgresError("in use: stop it"), "embedded_postgres", EXIT_REFUSED),
        (UnsafeRoleError("role x bypasses: fix it"), "database_role_cannot_enforce_rls", EXIT_REFUSED),
        (ReplicationError("no slot", hint="make one"), "database_not_replication_ready", EXIT_REFUSED),
        (ExceptionGroup("tasks", [PgsyncError("internal_error", "no")]), "internal_error", EXIT_REFUSED),
        (psycopg.OperationalError("connection refused"), "connected_database_unreachable", EXIT_UNREACHABLE),
        (psycopg.errors.InsufficientPrivilege("no"), "forbidden (SQLSTATE 42501)", EXIT_REFUSED),
        (FileNotFoundError(2, "No such file", "x"), None, None),
    ],
)
def test_an_error_keeps_its_code(error: Exception, code: str | None, status: int | None) -> None:
    failure = explain(error)
    if code is None:
        assert failure is None, "what nobody expected keeps its traceback"
    else:
        assert failure is not None
        assert (failure.code, failure.exit_code) == (code, status)


def test_help_loads_no_gateway() -> None:
    program = "import sys; from pgsync.cli import cli; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"aiohttp", "sqlglot", "pgsync.gateway", "pgsync.push", "pgsync.schema"} & set(said) == set()
