"""How a schema is written in Python: classes that declare a table each.

    class Task(Model, rule="assignee_id = actor.id OR status = 'done'"):
        title: str
        status: Literal["todo", "doing", "done"] = "todo"
        project_id: Ref[Project] = Field(parent=True, on_delete="cascade")

The name of an attribute is the name on the wire, letter for letter; its column is the same name in snake_case. A field
with a default may be left out of a create; a field that is neither optional nor has a default must be given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeGuard, TypeVar

T = TypeVar("T")

OnDelete = Literal["no action", "restrict", "cascade", "set null"]
OnStale = Literal["reject", "notify", "overwrite"]
ParticipantKind = Literal["user", "agent", "system"]


class Ref(Generic[T]):
    """A belongs-to reference: the field holds the id of a row of the other model.

    Name the attribute with the suffix `_id` or `Id`, which the relation's name is then without; or say `relation=`.
    A model that is defined further down is named by a string: `Ref["Project"]`.
    """


@dataclass(frozen=True, slots=True)
class Marker:
    """Tells two columns apart that hold the same Python type."""

    sql: str


bigint = Annotated[int, Marker("bigint")]
"""A 64-bit integer; plain `int` is a 32-bit one."""

JSON = Annotated[Any, Marker("jsonb")]
"""Any JSON value."""


class Missing:
    """The type of `MISSING`, which says that an argument was not given where None means something."""


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """What `Field()` was told."""

    default: Any = MISSING
    name: str | None = None
    column: str | None = None
    index: bool | None = None
    unique: bool = False
    relation: str | None = None
    parent: bool = False
    on_delete: OnDelete | None = None
    fk: bool = True
    sql: str | None = None
    readonly: bool = False


def Field(  # noqa: N802  reads as what it declares, beside Model and Ref
    default: Any = MISSING,
    *,
    name: str | None = None,
    column: str | None = None,
    index: bool | None = None,
    unique: bool = False,
    relation: str | None = None,
    parent: bool = False,
    on_delete: OnDelete | None = None,
    fk: bool = True,
    sql: str | None = None,
    readonly: bool = False,
) -> Any:
    """Options of one field, given as the attribute's value.

    `default` is applied by the database when a create leaves the field out. `name` is the wire name where the attribute
    cannot have it (`name="class"`), `column` a column name of one's own. `index` makes an index (references have one
    unless told otherwise), `unique` a unique constraint within the tenant.

    For tables that exist: `sql` is the column's exact type, as psql's `\\d` prints it, with the namespace of types that
    are not Postgres's own (`"character varying(255)"`, `"public.mood"`); the Python type then says what its values are.
    `readonly`: only the database writes the column: it is generated, or has a default that only Postgres knows.

    Of references only: `relation` is the accessor's name (default: the field's without `_id`/`Id`); `parent` puts the
    row into the sync groups of the row it refers to; `on_delete` is the foreign key's action (default `no action`);
    `fk=False` leaves the foreign key out.
    """
    return FieldOptions(default, name, column, index, unique, relation, parent, on_delete, fk, sql, readonly)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What the class line of a model said; the defaults are those of the contract's schema builder."""

    key: str | None = None
    typename: str | None = None
    table: str | None = None
    namespace: str = "public"
    tenant: str | None = "organization_id"
    tenant_type: str = "text"
    mutable: bool = True
    load: Literal["instant", "lazy"] = "instant"
    scope: bool | str = False
    groups: tuple[str, ...] = ()
    grants: tuple[str, str] | None = None
    rule: str | None = None
    conflict: Mapping[ParticipantKind, OnStale] | None = None
    claims: Literal["advisory", "enforced"] = "advisory"
    preempt: bool = False
    without: tuple[str, ...] = ()
    abstract: bool = False


_NOT_INHERITED: Final = ("key", "typename", "table", "abstract")


class Model:
    """Base of every declared model. Options go on the class line and, except names, are inherited.

    `key` is the model's name in paths (default: the class name's plural in lowerCamelCase: Task -> tasks, Category ->
    categories, TaskComment -> taskComments), `typename` its name in deltas (default: the class name), `table` and
    `namespace` where its rows are (default: the key in snake_case, in `public`). `tenant` is the column that holds the
    organization, of type text unless `tenant_type` says another (`uuid`, `bigint`, ..); None means rows that all
    organizations share. `mutable=False` refuses writes from clients. `load` is
    `instant` or `lazy`. `scope=True` makes each row a sync group `<typename in lower case>:<id>`, `scope="matter"`
    names the kind; `groups=["inbox:recipient_id"]` puts a row into `inbox:<value>`; without any of these and without a
    parent a row belongs to its organization. `grants=("user", "workspace")` names the two references of a membership.
    `rule` is a boolean SQL expression over columns and `actor.*` that a row must also meet to be read. `conflict` maps
    participant kinds to `reject`, `notify` or `overwrite`. `claims="enforced"` makes claims hold for direct SQL too;
    `preempt=True` lets participants who were granted `claim.preempt` take a claim from its holder when they ask to.
    `without` lists base fields that the table does not have (`createdAt`, `updatedAt`, `createdBy`). `abstract=True`
    makes a base class whose fields its subclasses get.

    `id` is text unless declared as `id: UUID`, `id: int` or `id: bigint` (identity columns); of a table that exists,
    `id: int = Field(column="number", sql="smallint")` names its column and exact type.
    """

    __pgsync_options__: ClassVar[ModelOptions] = ModelOptions(abstract=True)

    def __init_subclass__(
        cls,
        *,
        key: str | None = None,
        typename: str | None = None,
        table: str | None = None,
        namespace: str | Missing = MISSING,
        tenant: str | Missing | None = MISSING,
        tenant_type: str | Missing = MISSING,
        mutable: bool | Missing = MISSING,
        load: Literal["instant", "lazy"] | Missing = MISSING,
        scope: bool | str | Missing = MISSING,
        groups: str | Sequence[str] | Missing = MISSING,
        grants: tuple[str, str] | Missing | None = MISSING,
        rule: str | Missing | None = MISSING,
        conflict: Mapping[ParticipantKind, OnStale] | Missing | None = MISSING,
        claims: Literal["advisory", "enforced"] | Missing = MISSING,
        preempt: bool | Missing = MISSING,
        without: Sequence[str] | Missing = MISSING,
        abstract: bool = False,
    ) -> None:
        super().__init_subclass__()
        inherited = {
            name: getattr(cls.__pgsync_options__, name)
            for name in ModelOptions.__dataclass_fields__
            if name not in _NOT_INHERITED
        }
        said = {
            "namespace": namespace,
            "tenant": tenant,
            "tenant_type": tenant_type,
            "mutable": mutable,
            "load": load,
            "scope": scope,
            "groups": (groups,)
            if isinstance(groups, str)
            else groups
            if isinstance(groups, Missing)
            else tuple(groups),
            "grants": grants,
            "rule": rule,
            "conflict": conflict,
            "claims": claims,
            "preempt": preempt,
            "without": without if isinstance(without, Missing) else tuple(without),
        }
        options: dict[str, Any] = inherited | {k: v for k, v in said.items() if not isinstance(v, Missing)}
        cls.__pgsync_options__ = ModelOptions(key=key, typename=typename, table=table, abstract=abstract, **options)

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} declares a table; rows travel as JSON objects, not as instances")


def is_declared(value: object) -> TypeGuard[type[Model]]:
    """Whether this is a model class that stands for a table."""
    return isinstance(value, type) and issubclass(value, Model) and not value.__pgsync_options__.abstract


def plural_key(class_name: str) -> str:
    """The default schema key: first letters lower, then a plural by ending alone.

    `y` after a consonant becomes `ies`; `s`, `x`, `z`, `ch` and `sh` get `es`; everything else gets `s`. Irregular
    words are not known: give the class a `key` if `childs` hurts.
    """
    start = 0
    while start < len(class_name) and class_name[start].isupper():
        start += 1
    # HTTPRequest -> httpRequest, Task -> task, HTTP -> http
    lowered = max(1, start if start == len(class_name) else start - 1)
    name = class_name[:lowered].lower() + class_name[lowered:]
    if name.endswith("y") and name[-2:-1] not in ("a", "e", "i", "o", "u", ""):
        return name[:-1] + "ies"
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return name + "es"
    return name + "s"
