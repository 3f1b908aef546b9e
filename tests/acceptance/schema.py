"""The schema that the acceptance tests push: one model per thing that a promise is about."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pgsync.schema import JSON, Field, Model, Ref, Schema, bigint


class Project(Model):
    name: str


class Task(Model):
    title: str
    status: Literal["todo", "doing", "done"] = "todo"
    priority: int = 0
    isDone: bool = False  # noqa: N815  # a wire name that is not its column's
    code: str | None = Field(None, unique=True)
    project_id: Ref[Project] | None = Field(None)


class Sample(Model):
    """A field of each type."""

    text: str | None = None
    flag: bool | None = None
    small: int | None = None
    large: bigint | None = None
    exact: Decimal | None = None
    ratio: float | None = None
    moment: datetime | None = None
    day: date | None = None
    ref: UUID | None = None
    words: list[str] | None = None
    numbers: list[int] | None = None
    document: JSON | None = None


class Counter(Model, preempt=True):
    id: int
    label: str | None = None


class Token(Model):
    id: UUID
    label: str | None = None


class Notice(Model, mutable=False):
    text: str | None = None


schema = Schema(Project, Task, Sample, Counter, Token, Notice)
