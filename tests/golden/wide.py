"""A schema with everything in it: each type, each kind of id, groups, rules, references, texts that need care."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pgsync.schema import JSON, Field, Model, Ref, Schema, bigint


class Country(Model, tenant=None, mutable=False, without=("createdAt", "updatedAt", "createdBy")):
    """Shared by all organizations, written by nobody but SQL."""

    name: str


class Workspace(Model, scope=True):
    """Each row is a sync group of its own."""

    name: str = Field(unique=True)
    country_id: Ref[Country] | None = Field(None)


class Folder(Model, tenant="tenant", table="folder_list"):
    id: UUID
    parentId: Ref[Folder] | None = Field(None, relation="parent", on_delete="cascade")  # noqa: N815
    label: str = "it's $new$ \\ folder"


class Document(Model, groups=["inbox:owner_id"], rule="NOT secret OR owner_id = actor.id"):
    id: bigint
    workspace_id: Ref[Workspace] = Field(parent=True, on_delete="cascade")
    folder: Ref[Folder] | None = Field(None, relation="filed_in", on_delete="set null")
    owner_id: str | None = None
    secret: bool = False
    order: int = Field(0, column="position", index=True)
    kind: Literal["plain", "it's", "back\\slash", "$function$"] = "plain"


class Sample(Model, key="samples", typename="TypeSample"):
    text: str | None = None
    flag: bool | None = None
    small: int | None = None
    large: bigint | None = None
    exact: Decimal | None = None
    ratio: float | None = None
    moment: datetime | None = None
    day: date | None = None
    ref: UUID | None = None
    document: JSON | None = None
    words: list[str] | None = None
    numbers: list[int] | None = None
    bigs: list[bigint] | None = None
    flags: list[bool] | None = None
    exacts: list[Decimal] | None = None
    ratios: list[float] | None = None
    moments: list[datetime] | None = None
    days: list[date] | None = None
    refs: list[UUID] | None = None
    textOr: str = "x"  # noqa: N815
    flagOr: bool = True  # noqa: N815
    largeOr: bigint = -9223372036854775808  # noqa: N815
    exactOr: Decimal = Decimal("12345678901234567890.5")  # noqa: N815
    ratioOr: float = float("nan")  # noqa: N815
    wordsOr: list[str] = Field(["a", "b'"])  # noqa: N815
    documentOr: JSON = Field({"a": [1, None, "$"]})  # noqa: N815


class Counter(Model):
    id: int
    label: str | None = None


class Person(Model):
    id: UUID
    name: str


class Membership(Model, grants=("person", "workspace")):
    """Each row gives a person a workspace's documents."""

    person_id: Ref[Person] = Field(on_delete="cascade")
    workspace_id: Ref[Workspace] | None = Field(None, on_delete="cascade")


class Watch(Model, grants=("watcher", "workspace")):
    """The same without foreign keys: a push makes the index."""

    watcherId: Ref[Counter] = Field(relation="watcher", fk=False)  # noqa: N815
    workspace_id: Ref[Workspace] = Field(fk=False)


schema = Schema(Country, Workspace, Folder, Document, Sample, Counter, Person, Membership, Watch)
