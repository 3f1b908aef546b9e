"""What pip installs is complete: metadata, types, SQL and examples, and nothing that only a checkout needs."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pgsync import sqlfiles

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built offline with the hatchling that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@contextmanager
def opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheel) as archive:
        yield archive


def shipped(folder: str) -> set[str]:
    """What git tracks, or would, in a folder of the checkout."""
    said = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name in said.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_is_named_after_the_distribution(wheel: Path) -> None:
    assert wheel.name.startswith("pgsync_layer-")
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_wheel_holds_every_sql_file_and_example(wheel: Path) -> None:
    with opened(wheel) as archive:
        names = set(archive.namelist())
    assert shipped("sql")
    assert {f"pgsync/_{name}" for name in shipped("sql")} <= names
    assert {f"pgsync/_{name}" for name in shipped("examples")} <= names


def test_the_wheel_holds_every_module_and_says_that_it_is_typed(wheel: Path) -> None:
    with opened(wheel) as archive:
        names = set(archive.namelist())
    assert shipped("pgsync") <= names
    assert "pgsync/py.typed" in names


def test_the_wheel_holds_nothing_that_only_a_checkout_needs(wheel: Path) -> None:
    with opened(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pgsync"}


def test_the_metadata_names_licence_python_and_command(wheel: Path) -> None:
    with opened(wheel) as archive:
        (metadata_name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        (scripts_name,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        metadata = email.message_from_bytes(archive.read(metadata_name))
        scripts = archive.read(scripts_name).decode()
        licences = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
    assert metadata["Name"] == "pgsync-layer"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "pgsync = pgsync.cli:main" in scripts
    assert licences


def test_an_installed_wheel_finds_its_sql_and_examples(wheel: Path, tmp_path: Path) -> None:
    with opened(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "from pgsync import sqlfiles; from pgsync.dev.bundled import bundled_schema;"
        "print(sqlfiles.root()); print(bundled_schema('tasks'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [
        str(tmp_path / "pgsync" / "_sql"),
        str(tmp_path / "pgsync" / "_examples" / "tasks" / "schema.py"),
    ]


def test_the_package_runs_as_its_command() -> None:
    command = [sys.executable, "-m", "pgsync", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("Usage: pgsync [OPTIONS] COMMAND")


def test_dependencies_are_bounded_below() -> None:
    extras = [entry for group in PROJECT["optional-dependencies"].values() for entry in group]
    for entry in [*PROJECT["dependencies"], *extras]:
        assert ">=" in entry or entry.startswith("pgsync-layer["), entry


def test_every_dependency_is_imported_somewhere() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "pgsync").rglob("*.py"))
    for entry in PROJECT["dependencies"]:
        name = re.split(r"[\[<>=;]", entry)[0]
        module = {"pyjwt": "jwt"}.get(name, name.replace("-", "_"))
        assert re.search(rf"^\s*(import|from) {module}\b", source, re.MULTILINE), f"{name} is not needed"


def test_migrations_are_numbered_without_gap_or_repetition() -> None:
    numbers = [int(Path(path).name.split("_")[0]) for path in sqlfiles.names("migrations")]
    assert numbers == list(range(1, len(numbers) + 1))
