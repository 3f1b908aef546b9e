"""Every kind of change of a schema: what was pushed before, what comes now, and what whoever pushes has to say."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pgsync.push import Backfill, ModelRename, Rename, Wishes
from pgsync.schema import Field, Model, Ref, Schema, bigint

ROWS: Final = (
    "INSERT INTO projects (organization_id, id, name) SELECT 'acme', 'p' || n, 'P' FROM generate_series(0, 9) AS n;"
    "INSERT INTO tasks (organization_id, id, title, status, estimate, note, project_id)"
    " SELECT 'acme', 't' || n, 'Task ' || n, CASE n % 3 WHEN 0 THEN 'todo' WHEN 1 THEN 'doing' ELSE 'done' END, n,"
    " CASE n % 2 WHEN 0 THEN 'x' || n END, 'p' || n % 10 FROM generate_series(1, {count}) AS n"
)
KEPT: Final = "SELECT count(*), count(note), sum(estimate) FROM tasks WHERE id LIKE 't%'"
"""What no change may lose, unless it says otherwise."""


class Project(Model):
    name: str


REQUIRED: Final = object()
_FIELDS: Final[Mapping[str, tuple[Any, Any]]] = {
    "title": (str, REQUIRED),
    "status": (Literal["todo", "doing", "done"], "todo"),
    "estimate": (int, REQUIRED),
    "note": (str | None, None),
    "project_id": (str | None, None),
}


def declare(
    *more: type[Model],
    without: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
    typename: str = "Task",
    **fields: Any,
) -> Schema:
    """The schema of before with fields of Task added, replaced or left out, and with further models."""
    chosen = {name: f for name, f in {**_FIELDS, **fields}.items() if name not in without}

    def fill(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = {name: annotation for name, (annotation, _) in chosen.items()}
        namespace["__module__"] = __name__
        namespace |= {name: default for name, (_, default) in chosen.items() if default is not REQUIRED}

    task = types.new_class(typename, (Model,), dict(options or {}), fill)
    return Schema(Project, task, *more)


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change. `wishes` is what it takes; without that it is refused, unless nothing is asked for.

    `refuses`: an old client that writes title, status and estimate is refused afterwards. `kept` is a query that gives
    the same before and after. `leaves`: what queries of the catalog begin with that rightly say other things than after
    a first push, because tables and columns stay. `table`: what the table of tasks is called afterwards. `before`: what
    is pushed first, where `declare()` lacks what changes.
    """

    after: Callable[[], Schema]
    wishes: Wishes = Wishes()  # noqa: RUF009  it is frozen
    refuses: bool = False
    kept: str = KEPT
    leaves: tuple[str, ...] = ()
    before: Callable[[], Schema] | None = None
    table: str = "tasks"


def _allow(*subjects: str) -> Wishes:
    return Wishes(allow=frozenset(subjects))


def _backfill(field: str, value: Any) -> Wishes:
    return Wishes(backfills=(Backfill("task", field, value),))


def _with_label() -> Schema:
    class Label(Model):
        name: str

    return declare(Label)


def _renamed(typename: str, **options: Any) -> Schema:
    project = (Ref[Project] | None, Field(None))
    return declare(typename=typename, options=options, project_id=project, title=(str, Field(index=True)))


def _without_task() -> Schema:
    return Schema(Project)


CHANGES: Final[Mapping[str, Change]] = {
    "index and reference leave": Change(
        lambda: declare(title=(str, REQUIRED)),
        before=lambda: declare(
            title=(str, Field(index=True)), project_id=(Ref[Project] | None, Field(None, on_delete="set null"))
        ),
    ),
    "model added": Change(_with_label),
    "field added": Change(lambda: declare(due=(str | None, None))),
    "field with a default added": Change(lambda: declare(priority=(int, 3))),
    "enum field added": Change(lambda: declare(level=(Literal["low", "high"], "low"))),
    "required field added": Change(lambda: declare(owner=(str, REQUIRED)), _backfill("owner", "nobody"), refuses=True),
    "field renamed": Change(
        lambda: declare(without=("title",), name=(str, REQUIRED)),
        Wishes(renames=(Rename("task", "title", "name"),)),
        refuses=True,
    ),
    "model renamed": Change(
        lambda: _renamed("Ticket"),
        Wishes(renames=(ModelRename("task", "ticket"),)),
        before=lambda: declare(project_id=(Ref[Project] | None, Field(None)), title=(str, Field(index=True))),
        refuses=True,
        kept="SELECT count(*), count(note), sum(estimate) FROM {table} WHERE id LIKE 't%'",
        table="tickets",
    ),
    "model renamed, its table not": Change(
        lambda: _renamed("Ticket", table="tasks"),
        Wishes(renames=(ModelRename("tasks", "tickets"),)),
        before=lambda: declare(project_id=(Ref[Project] | None, Field(None)), title=(str, Field(index=True))),
    ),
    "enum field renamed": Change(
        lambda: declare(without=("status",), state=_FIELDS["status"]),
        Wishes(renames=(Rename("task", "status", "state"),)),
        refuses=True,
    ),
    "column renamed": Change(
        lambda: declare(title=(str, Field(column="headline"))),
        Wishes(renames=(Rename("task", "title", "title"),)),
    ),
    "field becomes required": Change(
        lambda: declare(note=(str, REQUIRED)),
        _backfill("note", "none"),
        refuses=True,
        kept="SELECT count(*), sum(estimate) FROM tasks WHERE id LIKE 't%'",
    ),
    "field becomes optional": Change(lambda: declare(estimate=(int | None, None))),
    "wider type": Change(lambda: declare(estimate=(bigint, REQUIRED))),
    "wider type with an index": Change(
        lambda: declare(estimate=(bigint, Field(index=True))),
        before=lambda: declare(estimate=(int, Field(index=True))),
    ),
    "type in the catalog": Change(
        lambda: declare(label=(str | None, None), options={"rule": "label IS NULL OR label <> 'x'"}),
        before=lambda: declare(
            label=(str | None, Field(None, sql="character varying(40)")),
            options={"rule": "label IS NULL OR label <> 'x'"},
        ),
    ),
    "another name and a wider type": Change(
        lambda: declare(without=("estimate",), effort=(bigint, REQUIRED)),
        Wishes(renames=(Rename("task", "estimate", "effort"),)),
        refuses=True,
        kept="SELECT count(*), count(note), sum((to_jsonb(t) ->> (CASE WHEN to_jsonb(t) ? 'effort' THEN 'effort'"
        " ELSE 'estimate' END))::bigint) FROM tasks AS t WHERE id LIKE 't%'",
    ),
    "another type": Change(
        lambda: declare(estimate=(str, REQUIRED)),
        _allow("task.estimate"),
        refuses=True,
        kept="SELECT count(*), count(note), sum(estimate::text::integer) FROM tasks WHERE id LIKE 't%'",
    ),
    "type that rounds": Change(
        lambda: declare(estimate=(int, 0)),
        _allow("task.estimate"),
        before=lambda: declare(estimate=(float, 0.0)),
        leaves=("SELECT c.relname",),
    ),
    "type of a column that rules name": Change(
        lambda: declare(
            estimate=(bigint, REQUIRED), options={"rule": "estimate > 0", "groups": ["project:project_id"]}
        ),
        before=lambda: declare(options={"rule": "estimate > 0", "groups": ["project:project_id"]}),
    ),
    "value added to an enum": Change(lambda: declare(status=(Literal["todo", "doing", "done", "gone"], "todo"))),
    "value removed from an enum": Change(
        lambda: declare(status=(Literal["todo", "done"], "todo")), _backfill("status", "done")
    ),
    "enum becomes text": Change(lambda: declare(status=(str, "todo"))),
    "text becomes an enum": Change(
        lambda: declare(note=(Literal["x2", "other"] | None, None)), _backfill("note", "other")
    ),
    "index": Change(lambda: declare(title=(str, Field(index=True)))),
    "unique index": Change(lambda: declare(title=(str, Field(unique=True)))),
    "reference": Change(lambda: declare(project_id=(Ref[Project] | None, Field(None, on_delete="set null")))),
    "group": Change(lambda: declare(options={"groups": ["project:project_id"]})),
    "read rule": Change(lambda: declare(options={"rule": "status <> 'done' OR note = actor.id"})),
    "read rule goes": Change(
        declare, before=lambda: declare(options={"rule": "status <> 'done' OR note = actor.id"})
    ),  # and with it the replica identity
    "enforced claims": Change(lambda: declare(options={"claims": "enforced"})),
    "field removed": Change(
        lambda: declare(without=("note", "estimate")),
        _allow("task.note", "tasks.estimate"),
        refuses=True,
        leaves=("SELECT c.relname",),
    ),
    "model removed": Change(
        _without_task,
        _allow("task"),
        refuses=True,
        leaves=("SELECT c.relname", "SELECT conrelid", "SELECT indexrelid", "SELECT relname"),
    ),
    "model becomes read-only": Change(lambda: declare(options={"mutable": False}), _allow("tasks"), refuses=True),
}
