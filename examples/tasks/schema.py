"""The schema behind `pgsync demo`: projects with tasks, tasks with comments.

Rows belong to an organization; whoever is in it sees all of them, except comments that their author keeps private.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pgsync.schema import Field, Model, Ref, Schema


class Project(Model):
    name: str
    description: str | None = None
    archived: bool = False


class Task(Model):
    title: str
    status: Literal["todo", "doing", "done"] = "todo"
    priority: int = 0
    due: date | None = None
    tags: list[str] = Field([])
    assignee_id: str | None = Field(None, index=True)
    project_id: Ref[Project] | None = Field(None, on_delete="cascade")


class Comment(Model, rule="NOT private OR author_id = actor.id"):
    body: str
    private: bool = False
    author_id: str | None = None
    task_id: Ref[Task] = Field(on_delete="cascade")


schema = Schema(Project, Task, Comment)
