"""Where a schema comes from: a Python file, a module, a SchemaJSON file; and what is said when it is not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pgsync.schema import SchemaError, SchemaLoadError, load_schema

EXAMPLE = Path(__file__).parents[2] / "examples" / "tasks" / "schema.py"

MODELS = """
from __future__ import annotations
from pgsync.schema import Field, Model, Ref

class Task(Model):
    title: str
    project_id: Ref[Project] = Field(parent=True)
    blocked_by_id: Ref["Task"] | None = None

class Project(Model, scope=True):
    name: str
"""


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def test_example_loads_and_survives_json(tmp_path: Path) -> None:
    schema = load_schema(EXAMPLE)
    assert [m.key for m in schema.resolved.models] == ["projects", "tasks", "comments"]
    assert schema.resolved.warnings == ()
    assert load_schema(write(tmp_path, "schema.json", json.dumps(schema.to_json()))) == schema


def test_file_with_models_only_is_a_schema_of_all_of_them(tmp_path: Path) -> None:
    schema = load_schema(write(tmp_path, "schema.py", MODELS))
    assert [m.key for m in schema.resolved.models] == ["tasks", "projects"]
    assert [r.target for r in schema.resolved.models[0].references] == ["projects", "tasks"]


def test_attribute_picks_what_is_meant(tmp_path: Path) -> None:
    more = "\nsmall = [Project]\nschema_json = {'v': 3, 'models': {}, 'identityRoles': []}\nnumber = 5\n"
    path = write(tmp_path, "schema.py", MODELS + more)
    assert [m.key for m in load_schema(f"{path}:Project").resolved.models] == ["projects"]
    assert [m.key for m in load_schema(f"{path}:small").resolved.models] == ["projects"]
    assert load_schema(f"{path}:schema_json").resolved.models == ()
    with pytest.raises(SchemaLoadError, match="has no 'nope'"):
        load_schema(f"{path}:nope")
    with pytest.raises(SchemaLoadError, match="is no schema"):
        load_schema(f"{path}:number")


def test_module_is_found_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "shop_of_a_test.py", MODELS + "\nfrom pgsync.schema import Schema\nmine = Schema(Project)\n")
    monkeypatch.chdir(tmp_path)
    path_before = list(sys.path)
    try:
        assert [m.key for m in load_schema("shop_of_a_test:mine").resolved.models] == ["projects"]
        assert [m.key for m in load_schema("shop_of_a_test").resolved.models] == ["tasks", "projects"]
    finally:
        sys.modules.pop("shop_of_a_test", None)
    assert sys.path == path_before


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    first = load_schema(write(tmp_path, "schema.py", MODELS))
    second = load_schema(write(tmp_path, "schema.py", MODELS.replace("title: str", "title: str\n    done: bool")))
    assert first.hash != second.hash
    assert "pgsync_schema_file" not in sys.modules


def test_file_may_import_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "neighbour_of_a_test.py", MODELS)
    try:
        schema = load_schema(write(tmp_path, "schema.py", "from neighbour_of_a_test import Project, Task\n"))
    finally:
        sys.modules.pop("neighbour_of_a_test", None)
    assert [m.key for m in schema.resolved.models] == ["projects", "tasks"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("schema.py", "class Task(:\n", "line 1"),
        ("schema.py", "x = 1\n\nimport nothing_of_that_name\n", r"schema\.py, line 3: ModuleNotFoundError"),
        ("schema.py", "x = 1\n", "has no schema"),
        ("schema.json", "{", "is not JSON"),
        ("schema.txt", "", "neither a file nor a module"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_the_place(tmp_path: Path, name: str, text: str, expected: str) -> None:
    with pytest.raises(SchemaLoadError, match=expected) as caught:
        load_schema(write(tmp_path, name, text))
    assert caught.value.remedy


@pytest.mark.parametrize("source", ["nowhere.py", "nowhere.json", "nowhere_module_of_a_test", "a/b.toml"])
def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SchemaLoadError):
        load_schema(source)


def test_wrong_schema_in_a_file_reports_its_problems(tmp_path: Path) -> None:
    broken = MODELS.replace("title: str", "title: complex\n    Name: str")
    with pytest.raises(SchemaError) as caught:
        load_schema(write(tmp_path, "schema.py", broken))
    assert len(caught.value.problems) == 2
