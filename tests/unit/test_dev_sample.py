"""The lines that `pgsync dev` prints work as pasted, whatever the schema is."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import pytest

from pgsync.dev.sample import Sample, sample
from pgsync.schema import JSON, Field, Model, Ref, Schema

URL = "http://127.0.0.1:8080"
DATABASE_URL = "postgresql://postgres:p%20w@127.0.0.1:5433/app?options=-c%20a%3Db"


def lines(*models: type[Model]) -> Sample | None:
    return sample(
        Schema(*models).resolved, url=URL, secret_key="sk_1", database_url=DATABASE_URL, psql="/a b/psql", token="00ff"
    )


def body(line: str) -> dict[str, object]:
    words = shlex.split(line)
    parsed = json.loads(words[words.index("-d") + 1])
    assert isinstance(parsed, dict)
    return parsed


def test_the_row_is_created_updated_and_updated_by_sql() -> None:
    class Task(Model):
        title: str
        status: Literal["todo", "doing", "done"] = "todo"

    found = lines(Task)
    assert found is not None
    assert shlex.split(found.create)[:7] == ["curl", "-sS", "-w", r"\n", "-X", "POST", f"{URL}/api/v1/models/tasks"]
    assert body(found.create) == {"id": "task-00ff", "data": {"title": "Try pgsync", "status": "todo"}}
    assert shlex.split(found.update)[5:7] == ["PATCH", f"{URL}/api/v1/models/tasks/task-00ff"]
    assert body(found.update) == {"data": {"status": "doing"}}
    assert shlex.split(found.update_by_sql) == [
        "/a b/psql",
        DATABASE_URL,
        "-c",
        "UPDATE tasks SET status = 'done' WHERE id = 'task-00ff'",
    ]


def test_a_row_that_needs_another_one_is_not_the_sample() -> None:
    class Project(Model):
        name: str

    class Task(Model):
        project_id: Ref[Project]
        status: Literal["a", "b"] = "a"

    found = lines(Task, Project)
    assert found is not None
    assert "/projects" in found.create


def test_a_schema_without_a_row_to_write_has_no_sample() -> None:
    class Task(Model, mutable=False):
        title: str

    assert lines(Task) is None


def test_names_are_those_of_the_database() -> None:
    class Order(Model, namespace="sales", table="orders_2"):
        title: str = Field(column="headline")

    found = lines(Order)
    assert found is not None
    statement = shlex.split(found.update_by_sql)[-1]
    assert statement.startswith("UPDATE sales.orders_2 SET headline = 'Changed with psql'")


@pytest.mark.parametrize("kind", [str, bool, int, float, Decimal, date, datetime, UUID, JSON, list[str]])
def test_every_required_field_has_a_value(kind: type) -> None:
    model = type("Thing", (Model,), {"__annotations__": {"value": kind, "note": str}, "__module__": __name__})
    found = lines(model)
    assert found is not None
    data = body(found.create)["data"]
    assert isinstance(data, dict)
    assert data.keys() == {"value", "note"}
    if kind is datetime:
        assert datetime.fromisoformat(data["value"]).tzinfo is UTC


@pytest.mark.parametrize("kind", [int, UUID])
def test_the_id_is_of_the_declared_type(kind: type) -> None:
    model = type("Thing", (Model,), {"__annotations__": {"id": kind, "note": str}, "__module__": __name__})
    found = lines(model)
    assert found is not None
    assert kind(body(found.create)["id"])
