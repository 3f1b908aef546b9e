"""Schemas: what a declaration means, what a pushed document means, and how a wrong one is refused."""

from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Literal, Optional
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.models import Group, Kind
from pgsync.models import model_from_json as runtime_from_json
from pgsync.models import model_to_json as runtime_to_json
from pgsync.schema import (
    JSON,
    Field,
    Grants,
    Model,
    Ref,
    Reference,
    ResolvedModel,
    Schema,
    SchemaError,
    bigint,
    to_runtime,
)
from pgsync.schema.model import plural_key
from pgsync.schema.resolve import resolve


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class Project(Model):
    name: str


class Everything(Model, key="everything"):
    CONSTANT: ClassVar[int] = 3
    _private: int = 4

    a_text: str
    a_choice: Literal["x", "y"] = "x"
    a_color: Color = Color.BLUE
    an_int: int = 1
    a_big: bigint = 2**40
    a_float: float = float("inf")
    a_decimal: Decimal = Decimal("1.10")
    a_bool: bool = False
    a_moment: datetime = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    a_day: date | None = date(2026, 1, 2)
    a_uuid: UUID | None = None
    some_texts: list[str] = Field(["a"])
    some_numbers: list[bigint] | None = None
    some_days: list[date] = Field([date(2026, 1, 2)])
    a_list: list = Field([])  # type: ignore[type-arg]
    a_dict: dict[str, Any] = Field({"k": [1, None]})
    any_json: JSON
    maybe_json: JSON | None
    maybe_big: bigint | None
    maybe: Optional["str"]  # noqa: UP045, UP037  the older spelling
    camelCase: str = "z"  # noqa: N815


def one(*models: type[Model]) -> ResolvedModel:
    return Schema(*models).resolved.models[-1]


def problems_of(make: Any) -> list[str]:
    with pytest.raises(SchemaError) as caught:
        make()
    assert str(caught.value).count("\n") == len(caught.value.problems)
    assert all(problem.remedy and problem.message for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def document(**changes: Any) -> dict[str, Any]:
    """A document as the TypeScript builder writes it, with changes to its model."""
    entry = {
        "fields": {
            "title": {"type": "string", "isOptional": False, "isIndexed": False},
            "count": {"type": "number", "isOptional": True, "isIndexed": True},
            "dueDate": {"type": "date", "isOptional": False, "isIndexed": False},
            "state": {"type": "enum", "isOptional": False, "isIndexed": False, "enumValues": ["a", "b"]},
            "meta": {"type": "json", "isOptional": True, "isIndexed": False},
            "projectId": {"type": "string", "isOptional": True, "isIndexed": False},
        },
        "relations": {
            "project": {
                "type": "belongsTo",
                "target": "projects",
                "foreignKey": "projectId",
                "foreignKeyColumn": "projectId",
                "options": {"parent": True},
            }
        },
        "load": "instant",
        "typename": "tasks",
        "tableName": "tasks",
        "tenancy": {"kind": "column", "column": "organization_id"},
        "plane": "tenant",
        "mutable": True,
    }
    projects = {
        "fields": {"name": {"type": "string", "isOptional": False, "isIndexed": False}},
        "relations": {
            "tasks": {
                "type": "hasMany",
                "target": "tasks",
                "foreignKey": "projectId",
                "foreignKeyColumn": "projectId",
                "orderBy": "dueDate",
            }
        },
        "load": "lazy",
        "typename": "Project",
        "tableName": "projects",
        "tenancy": {"kind": "column", "column": "organization_id"},
        "plane": "tenant",
        "scope": True,
        "mutable": False,
        "lazyObservable": True,
    }
    return {"v": 3, "models": {"tasks": entry | changes, "projects": projects}, "identityRoles": []}


# What a class means


def test_python_types_become_columns() -> None:
    model = one(Everything)
    found = {f.name: (f.sql_type, f.kind, f.array, f.nullable, f.default) for f in model.declared}
    assert found == {
        "a_text": ("text", Kind.TEXT, False, False, None),
        "a_choice": ("text", Kind.TEXT, False, False, "x"),
        "a_color": ("text", Kind.TEXT, False, False, "blue"),
        "an_int": ("integer", Kind.INTEGER, False, False, 1),
        "a_big": ("bigint", Kind.INTEGER, False, False, 2**40),
        "a_float": ("double precision", Kind.FLOAT, False, False, "Infinity"),
        "a_decimal": ("numeric", Kind.DECIMAL, False, False, "1.10"),
        "a_bool": ("boolean", Kind.BOOLEAN, False, False, False),
        "a_moment": ("timestamp with time zone", Kind.TIMESTAMPTZ, False, False, "2026-01-02T03:04:05.000006Z"),
        "a_day": ("date", Kind.DATE, False, True, "2026-01-02"),
        "a_uuid": ("uuid", Kind.UUID, False, True, None),
        "some_texts": ("text[]", Kind.TEXT, True, False, ["a"]),
        "some_numbers": ("bigint[]", Kind.INTEGER, True, True, None),
        "some_days": ("date[]", Kind.DATE, True, False, ["2026-01-02"]),
        "a_list": ("jsonb", Kind.JSON, False, False, []),
        "a_dict": ("jsonb", Kind.JSON, False, False, {"k": [1, None]}),
        "any_json": ("jsonb", Kind.JSON, False, False, None),
        "maybe_json": ("jsonb", Kind.JSON, False, True, None),
        "maybe_big": ("bigint", Kind.INTEGER, False, True, None),
        "maybe": ("text", Kind.TEXT, False, True, None),
        "camelCase": ("text", Kind.TEXT, False, False, "z"),
    }
    assert {f.name for f in model.declared if not f.strict} == {
        "a_day",
        "a_uuid",
        "some_numbers",
        "maybe",
        "maybe_json",
        "maybe_big",
    }
    assert model.field("a_color").enum_values == ("red", "blue")  # type: ignore[union-attr]


def test_declared_names_are_the_wire_names_and_columns_are_snake_case() -> None:
    model = one(Everything)
    assert {f.name: f.column for f in model.declared if f.name != f.column} == {"camelCase": "camel_case"}

    class Odd(Model):
        klass: str = Field(name="class", column="class_name")

    assert [(f.name, f.column) for f in one(Odd).declared] == [("class", "class_name")]


def test_base_fields_stand_around_the_declared_ones() -> None:
    assert [(f.name, f.column, f.sql_type) for f in one(Project).fields] == [
        ("id", "id", "text"),
        ("organizationId", "organization_id", "text"),
        ("name", "name", "text"),
        ("createdAt", "created_at", "timestamp with time zone"),
        ("updatedAt", "updated_at", "timestamp with time zone"),
        ("createdBy", "created_by", "text"),
    ]

    class Shared(Model, tenant=None, without=["createdBy", "updatedAt"]):
        id: UUID
        name: str

    shared = one(Shared)
    assert [(f.name, f.sql_type) for f in shared.fields] == [
        ("id", "uuid"),
        ("name", "text"),
        ("createdAt", "timestamp with time zone"),
    ]
    assert shared.tenant_column is None


@pytest.mark.parametrize(
    ("annotation", "sql_type", "identity"),
    [(str, "text", False), (UUID, "uuid", False), (int, "integer", True), (bigint, "bigint", True)],
)
def test_row_id_has_the_declared_type(annotation: Any, sql_type: str, identity: bool) -> None:
    cls = type("Thing", (Model,), {"__annotations__": {"id": annotation, "name": str}})
    model = one(cls)
    assert (model.id.sql_type, model.id.identity) == (sql_type, identity)


def test_class_line_sets_every_option_and_bases_pass_theirs_on() -> None:
    class Tenant(Model, abstract=True, tenant="workspace_id", claims="enforced", preempt=True, namespace="app"):
        note: str | None = None

    class BlogPost(Tenant, key="posts", table="blog_posts", mutable=False, load="lazy", conflict={"user": "notify"}):
        title: str

    model = one(BlogPost)
    assert (model.key, model.typename, model.name, model.namespace, model.table) == (
        "posts",
        "BlogPost",
        "blog_post",
        "app",
        "blog_posts",
    )
    assert (model.tenant_column, model.claims, model.mutable, model.load) == ("workspace_id", "enforced", False, "lazy")
    assert model.conflict == {"user": "notify"}
    assert model.preempt is True
    assert [f.name for f in model.declared] == ["note", "title"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Task", "tasks"),
        ("Category", "categories"),
        ("Day", "days"),
        ("Box", "boxes"),
        ("Status", "statuses"),
        ("Branch", "branches"),
        ("TaskComment", "taskComments"),
        ("HTTPRequest", "httpRequests"),
        ("API", "apis"),
        ("Y", "ys"),
    ],
)
def test_default_key_is_the_lower_camel_plural(name: str, key: str) -> None:
    assert plural_key(name) == key


def test_default_table_is_the_key_in_snake_case() -> None:
    class TaskComment(Model):
        body: str

    assert one(TaskComment).table == "task_comments"


def test_references_take_the_type_of_the_row_they_point_to() -> None:
    class Workspace(Model, scope=True):
        id: UUID
        name: str

    class Folder(Model, scope="binder"):
        workspace_id: Ref[Workspace] = Field(parent=True, on_delete="cascade")
        above_id: Ref["Folder"] | None = Field(None, fk=False, index=False)  # noqa: UP037

    schema = Schema(Folder, Workspace)
    folder = schema.resolved.models[0]
    assert folder.references == (
        Reference("workspace", "workspace_id", "workspace_id", "workspaces", "cascade", parent=True),
        Reference("above", "above_id", "above_id", "folders", enforced=False),
    )
    assert [(f.name, f.sql_type, f.indexed, f.strict) for f in folder.declared] == [
        ("workspace_id", "uuid", True, True),
        ("above_id", "text", False, False),
    ]
    assert folder.groups == (Group("binder", "id"), Group("workspace", "workspace_id"))


def test_groups_come_from_scope_roots_parents_and_roles() -> None:
    class Room(Model, scope=True):
        name: str

    class Message(Model, groups=["inbox:to_id", "org:organizationId"]):
        to_id: str | None
        room_id: Ref[Room] = Field(parent=True)

    schema = Schema(Room, Message)
    assert schema.resolved.models[0].groups == (Group("room", "id"),)
    assert schema.resolved.models[1].groups == (
        Group("room", "room_id"),
        Group("inbox", "to_id"),
        Group("org", "organization_id"),
    )
    assert one(Project).groups == ()


def test_membership_rows_name_their_two_references() -> None:
    class Person(Model, key="people"):
        name: str

    class Team(Model, scope=True):
        name: str

    class Member(Model, grants=("person", "team")):
        person_id: Ref[Person]
        team_id: Ref[Team]

    assert one(Person, Team, Member).grants == Grants("person_id", "team_id", "team")


def test_rule_is_read_over_the_columns() -> None:
    class Note(Model, rule="ownerId = actor.id OR organization_id = 'x'"):
        ownerId: str = Field(column="ownerid")  # noqa: N815

    model = one(Note)
    assert model.rule == "ownerId = actor.id OR organization_id = 'x'"
    assert model.expression is not None
    assert model.expression.columns == ("organization_id", "ownerid")


def test_models_are_declarations_not_rows() -> None:
    with pytest.raises(TypeError, match="declares a table"):
        Project()
    with pytest.raises(TypeError, match="not a model"):
        Schema(Model)
    assert Everything.an_int == 1


# The document


def test_schema_survives_the_way_through_json() -> None:
    schema = Schema(Everything, Project)
    again = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert again == schema
    assert again.resolved.models == schema.resolved.models
    assert again.hash == schema.hash


def test_extra_information_travels_in_one_key() -> None:
    written = Schema(Everything, Project).to_json()
    assert set(written) == {"v", "models", "identityRoles", "pgsync"}
    assert set(written["models"]["projects"]) == {
        "fields",
        "relations",
        "load",
        "typename",
        "tableName",
        "tenancy",
        "plane",
        "mutable",
    }
    assert written["models"]["everything"]["fields"]["a_decimal"] == {
        "type": "number",
        "isOptional": False,
        "isIndexed": False,
    }
    assert written["pgsync"]["models"]["everything"]["fields"]["a_decimal"] == {"type": "numeric", "default": "1.10"}


def test_typescript_schema_is_lenient_where_its_client_has_defaults() -> None:
    schema = Schema.from_json(document())
    tasks, projects = schema.resolved.models
    assert [(f.name, f.column, f.sql_type, f.nullable, f.strict) for f in tasks.declared] == [
        ("title", "title", "text", False, False),
        ("count", "count", "double precision", True, False),
        ("dueDate", "due_date", "timestamp with time zone", False, False),
        ("state", "state", "text", False, False),
        ("meta", "meta", "jsonb", True, False),
        ("projectId", "project_id", "text", True, False),
    ]
    assert tasks.references == (
        Reference("project", "projectId", "project_id", "projects", parent=True, enforced=False),
    )
    assert tasks.groups == (Group("project", "project_id"),)
    assert (projects.mutable, projects.load) == (False, "lazy")


def test_typescript_document_is_kept_as_it_came() -> None:
    given_document = document(bootstrapLimit=100, persist={"store": "x"}, autoFill=[{"field": "a", "from": "userId"}])
    given_document["sessionSettings"] = {"app.org": "orgId"}
    given_document["later"] = {"unknown": [1.0, None]}
    schema = Schema.from_json(given_document)
    assert schema.to_json() == given_document
    given_document["models"].clear()
    schema.to_json()["models"].clear()
    assert len(schema.to_json()["models"]) == 2
    assert any("sessionSettings" in str(warning) for warning in schema.resolved.warnings)


def test_memberships_that_clients_may_write_are_warned_of() -> None:
    def schema(**options: Any) -> Schema:
        class Person(Model):
            name: str

        class Team(Model, scope=True):
            name: str

        class Member(Model, grants=("person", "team"), **options):
            person_id: Ref[Person] = Field(fk=False)
            team_id: Ref[Team] = Field(fk=False)

        return Schema(Person, Team, Member)

    (warning,) = schema().resolved.warnings
    assert "who may create a row gives itself a group" in str(warning)
    assert "mutable=False" in str(warning)
    assert schema(mutable=False).resolved.warnings == ()


def test_table_that_the_builder_named_after_the_key_is_cased_as_columns_are() -> None:
    given_document = {"v": 3, "models": {"taskComments": document()["models"]["projects"]}, "identityRoles": []}
    entry = given_document["models"]["taskComments"]  # type: ignore[index]
    entry |= {"typename": "taskComments", "tableName": "taskComments"}
    schema = Schema.from_json(given_document)
    assert (schema.resolved.models[0].table, schema.resolved.models[0].name) == ("task_comments", "task_comments")
    assert ["refers to 'tasks', which is no model of this schema" in str(w) for w in schema.resolved.warnings] == [True]


def test_column_of_a_foreign_key_may_be_said_in_either_place() -> None:
    changed = document()
    changed["models"]["tasks"]["relations"]["project"]["foreignKeyColumn"] = "project_uuid"
    assert Schema.from_json(changed).resolved.models[0].references[0].column == "project_uuid"
    changed["models"]["tasks"]["fields"]["projectId"]["column"] = "project_uuid"
    assert Schema.from_json(changed).resolved.models[0].field_of_column("project_uuid") is not None
    changed["models"]["tasks"]["fields"]["projectId"]["column"] = "other"
    assert any("foreignKeyColumn" in line for line in problems_of(lambda: Schema.from_json(changed)))


def test_group_beyond_the_parent_is_not_widened_in_silence() -> None:
    class Space(Model, scope=True):
        name: str

    class Shelf(Model):
        space_id: Ref[Space] = Field(parent=True)

    class Book(Model):
        shelf_id: Ref[Shelf] = Field(parent=True)

    assert any(
        "beyond its parent 'shelves'" in line or "beyond its parent" in line
        for line in problems_of(lambda: Schema(Space, Shelf, Book))
    )


def test_runtime_form_carries_what_gateway_and_stream_need() -> None:
    class Task(Model, rule="done", claims="enforced", conflict={"agent": "reject"}):
        title: str
        done: bool = False
        state: Literal["a", "b"] | None = None
        project_id: Ref[Project] = Field(parent=True)

    resolved = one(Project, Task)
    runtime = to_runtime(resolved)
    assert runtime_from_json(json.loads(json.dumps(runtime_to_json(runtime)))) == runtime
    assert (runtime.name, runtime.table, runtime.id_column, runtime.hash) == ("task", "tasks", "id", resolved.hash)
    assert {f.name for f in runtime.fields if f.required} == {
        "id",
        "organizationId",
        "title",
        "done",
        "project_id",
        "createdAt",
        "updatedAt",
    }
    assert {f.name for f in runtime.fields if f.base} == {"id", "organizationId", "createdAt", "updatedAt", "createdBy"}
    state = runtime.field("state")
    assert state is not None
    assert state.enum_values == ("a", "b")
    assert runtime.rule == "done"


# Wrong schemas


def test_every_problem_of_a_wrong_schema_is_told_at_once() -> None:
    class Wrong(
        Model,
        rule="lower(title) = 'x' AND nope IS NULL",
        conflict={"robot": "reject"},  # type: ignore[dict-item]
        scope="Not A Kind",
        groups=["inbox"],
        grants=("who", "what"),
        without=["id"],
        tenant_type="public.mood",
    ):
        id: float
        Title: str
        contentJSON: str  # noqa: N815
        createdAt: datetime  # noqa: N815
        created_by: str
        order: int
        choice: Literal["a", 1]
        picture: complex
        loose: str = Field(sql="varchar")
        both: str | int
        nested: list[list[str]]
        missing: Undefined  # type: ignore[name-defined]  # noqa: F821
        small: int = 2**31
        naive: datetime = datetime(2026, 1, 1)  # noqa: DTZ001
        never: str = None  # type: ignore[assignment]
        project: Project
        project_id: Ref[Project] = Field(on_delete="set null")
        plain: str = Field(parent=True)
        untyped = Field()

    class Again(Model, key="wrongs"):
        name: str

    with pytest.raises(SchemaError) as caught:
        Schema(Wrong, Again)
    found = {(p.field, p.code) for p in caught.value.problems}
    text = str(caught.value)
    assert text.startswith(f"{len(caught.value.problems)} problems in the schema:")
    assert found >= {
        ("Title", "schema_field_not_camelcase"),
        ("contentJSON", "schema_field_consecutive_caps"),
        ("createdAt", "schema_reserved_field"),
        ("createdBy", "schema_reserved_field"),
        (None, "schema_scope_kind_invalid"),
        ("who", "schema_grants_relation_missing"),
        ("what", "schema_grants_relation_missing"),
    }
    for word in (
        "choice 'a', 1 is not of strings",
        "type complex has no column type",
        "type 'varchar' is not one of a string field",
        "'public.mood' cannot say which organization",
        "more than one kind of value",
        "no array type",
        "name 'Undefined' is not defined",
        "expected a number of 32 bits",
        "expected a datetime with a time zone",
        "has the default None but may not be null",
        "write Ref[...] around it",
        "which is not part of this schema",
        "but is none",
        "has Field(...) but no type",
        "has the same key 'wrongs' as Wrong",
        "'double precision' cannot be a row id",
        "lower(title): LOWER",
        "nope: is no column",
        "without ['id']",
        "conflict {'robot': 'reject'}",
        "group 'inbox' is not <kind>:<field>",
        "call it 'contentJson'",
    ):
        assert word.lower() in text.lower(), word


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tenancy": {"kind": "source"}}, "tenancy by source is not supported"),
        (
            {"tenancy": {"kind": "parent", "via": {"localKey": "project_id", "parentTable": "projects"}}},
            "tenancy by parent is not supported",
        ),
        ({"tenancy": {"kind": "moon"}}, "is not known"),
        ({"plane": "control"}, "plane 'control'"),
        ({"subject": {"field": "title", "group": "x"}}, "option 'subject' is not known"),
        ({"load": "manual"}, "load 'manual'"),
        ({"typename": "a b"}, "typename 'a b'"),
        ({"typename": "T" + "x" * 60}, "longer than 51 bytes"),
        ({"tableName": "t" * 64}, "longer than 63 bytes"),
        ({"tableName": "a\nb"}, "cannot be printed"),
        ({"tableName": "a$x$"}, "more than one $"),
        ({"tableName": "projects"}, "'projects' is also the table of 'tasks'"),
        ({"typename": "Projects"}, "'projects' is also the typename of 'tasks'"),
        ({"mutable": "yes"}, "mutable is not true or false"),
        ({"conflict": {"user": "maybe"}}, "is not a policy"),
        ({"scope": "Big"}, "schema_scope_kind_invalid"),
        ({"grants": "x"}, "schema_grants_shape_invalid"),
        ({"grants": {"subject": "project", "scope": "a-b"}}, "schema_grants_identifier_unsafe"),
        ({"entityRoles": [{"kind": "x", "source": {"field": "title", "multi": True}}]}, "not one id"),
        ({"entityRoles": [{"kind": "x", "source": {"field": "nope", "multi": False}}]}, "no field of the model"),
        ({"entityRoles": [{"kind": "X:Y", "source": {"field": "title", "multi": False}}]}, "is not a role"),
        ({"fields": []}, "fields is not an object"),
        ({"fields": {"a": {"type": "blob", "isOptional": False, "isIndexed": False}}}, "type 'blob'"),
        ({"fields": {"a": {"type": "enum", "isOptional": False, "isIndexed": False}}}, "enum without values"),
        ({"fields": {"a": {"type": "string", "isOptional": 1, "isIndexed": False}}}, "must be true or false"),
        ({"fields": {"a": {"type": "string", "column": "xmin"}}}, "system column"),
        ({"fields": {"a": {"type": "string", "column": "b"}, "b": {"type": "string"}}}, "stored in column 'b'"),
        ({"fields": {"id": {"type": "string"}}}, "schema_reserved_field"),
        ({"fields": {"_a": {"type": "string"}}}, "schema_field_not_camelcase"),
        (
            {
                "relations": {
                    "p": {"type": "belongsTo", "target": "project", "foreignKey": "x", "options": {"fk": True}}
                }
            },
            "did you mean 'projects'?",
        ),
        ({"relations": {"p": {"type": "belongsTo", "target": "projects", "foreignKey": "x"}}}, "no field of 'tasks'"),
        (
            {"relations": {"title": {"type": "belongsTo", "target": "projects", "foreignKey": "projectId"}}},
            "the name of a relation and of a field",
        ),
        ({"relations": {"p": {"type": "manyToMany"}}}, "is not a relation"),
    ],
)
def test_wrong_document_is_refused_with_the_reason(change: dict[str, Any], expected: str) -> None:
    lines = problems_of(lambda: Schema.from_json(document(**change)))
    assert any(expected in line for line in lines), lines


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ({"id": "jsonb"}, "cannot be a row id"),
        ({"fields": {"title": {"default": 5}}}, "expected a string"),
        ({"fields": {"state": {"default": "c"}}}, "expected one of 'a', 'b'"),
        ({"fields": {"title": {"type": "integer"}}}, "column type 'integer'"),
        ({"fields": {"title": {"type": "text; DROP TABLE x"}}}, "column type"),
        ({"fields": {"nope": {}}}, "not in fields"),
        ({"relations": {"project": {"onDelete": "explode"}}}, "'explode' is not known"),
        ({"relations": {"project": {"onDelete": "cascade"}}}, "no foreign key"),
        ({"namespace": "pg_catalog"}, "is not for tables"),
        ({"claims": "loud"}, "claims 'loud'"),
        ({"preempt": "yes"}, "preempt is not true or false"),
        ({"rule": 5}, "is not text"),
        ({"surprise": True}, "'surprise' is not known"),
    ],
)
def test_wrong_extension_is_refused_with_the_reason(extension: dict[str, Any], expected: str) -> None:
    lines = problems_of(lambda: Schema.from_json(document() | {"pgsync": {"models": {"tasks": extension}}}))
    assert any(expected in line for line in lines), lines


@pytest.mark.parametrize(
    "value",
    [None, [], "x", {}, {"models": {}}, {"v": 2, "models": {}}, {"v": 3, "models": []}, {"v": 3, "models": {"a": 1}}],
)
def test_what_is_no_schema_is_refused(value: Any) -> None:
    assert problems_of(lambda: Schema.from_json(value))


def test_document_nested_without_end_is_refused() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    assert "nested too deeply" in problems_of(lambda: Schema.from_json(document(persist=value)))[0]


_garbage = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["id", "tasks", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _paths(item, (*path, index))
    return found


class Full(Model, rule="title = actor.id", scope=True, groups=["x:title"], conflict={"user": "reject"}):
    title: str = "x"
    numbers: list[int] | None = None
    project_id: Ref[Project] = Field(parent=True, on_delete="cascade")


_FULL = Schema(Project, Full).to_json()


@given(st.sampled_from(_paths(_FULL)), _garbage)
def test_no_document_makes_anything_but_a_schema_or_problems(path: tuple[Any, ...], value: Any) -> None:
    changed = copy.deepcopy(_FULL)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    resolved, problems = resolve(changed)
    assert (resolved is None) == bool(problems)
