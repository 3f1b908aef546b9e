"""What the documents tell a newcomer to type is what CI runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from pgsync.cli import COMMANDS, cli
from pgsync.config import GatewayConfig, variable

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CI = (ROOT / ".ci" / "run").read_text()


def command(marker: str) -> str:
    """The one-line block under a marker of README.md."""
    found = re.search(rf"<!-- command: {marker} -->\n```sh\n(.*)\n```", README)
    assert found is not None, marker
    return found.group(1)


def test_readme_has_one_command_to_run_it_and_one_to_test_it() -> None:
    assert command("demo") == "python3 -m venv .venv && .venv/bin/pip install '.[embedded]' && .venv/bin/pgsync demo"
    assert command("test") == "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"


@pytest.mark.parametrize("marker", ["demo", "test"])
def test_ci_runs_the_command_of_the_readme(marker: str) -> None:
    """Not a copy of it: `.ci/run` reads it from README.md with the very function that is run here."""
    assert re.search(rf"\$\(readme {marker} ", CI)
    function = re.search(r"^readme\(\) \{.*?^\}$", CI, re.MULTILINE | re.DOTALL)
    assert function is not None
    said = subprocess.run(
        ["bash", "-c", f"{function.group()}\nreadme {marker} /elsewhere/venv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == command(marker).replace(".venv", "/elsewhere/venv")


@pytest.mark.parametrize("server", ["embedded16", "embedded18", "debian15"])
def test_ci_runs_on_each_postgres(server: str) -> None:
    assert server in CI


@pytest.mark.parametrize("checker", ["ruff", "mypy", "lint-imports"])
def test_ci_checks_with(checker: str) -> None:
    assert f'"$work/test/bin/{checker}"' in CI


def test_ci_is_a_valid_script_that_can_be_executed() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)


def test_contributing_shows_the_same_test_command() -> None:
    assert command("test") in (ROOT / "CONTRIBUTING.md").read_text()


def test_changelog_has_a_place_for_what_comes_next() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_between_documents_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / name).read_text()):
        assert (ROOT / target).exists(), target


def test_every_command_and_option_of_the_readme_exists() -> None:
    context = cli.make_context("pgsync", ["--help"], resilient_parsing=True)
    for line in re.findall(
        r"(?:^|/)pgsync ((?!-)[a-z].*)$", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)), re.M
    ):
        words = line.partition("#")[0].split()
        assert words[0] in COMMANDS, line
        found = cli.get_command(context, words[0])
        if isinstance(found, click.Group):
            found = found.get_command(context, words[1])
        assert found is not None
        known = {spelling for parameter in found.params for spelling in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_every_setting_of_the_readme_exists() -> None:
    known = {variable(name) for name in GatewayConfig.__dataclass_fields__}
    assert set(re.findall(r"PGSYNC_[A-Z_]+", README)) <= known
