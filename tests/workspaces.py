"""A schema in which a row of a table makes a person a member of a workspace and shows him its documents."""

from __future__ import annotations

from typing import Final

from pgsync.schema import Field, Model, Ref, Schema


class Person(Model):
    name: str


class Workspace(Model, scope=True):
    name: str


class Document(Model):
    title: str
    workspace_id: Ref[Workspace] = Field(parent=True, on_delete="cascade")


class Member(Model, grants=("person", "workspace")):
    person_id: Ref[Person] = Field(fk=False)
    workspace_id: Ref[Workspace] = Field(on_delete="cascade")


SCHEMA: Final = Schema(Person, Workspace, Document, Member)
