"""The schema of every question: one table of eight columns, which `migrate` creates."""

from __future__ import annotations

from typing import Literal

from pgsync.schema import Model, Schema


class Task(Model):
    title: str
    status: Literal["todo", "doing", "done"] = "todo"
    priority: int = 0


schema = Schema(Task)
