"""Tables that exist, written down as a typed Python schema, with a comment for everything that could not be taken over.

Pure: tables in, text out. What is written loads, and says of every field exactly what its column is.
"""

from __future__ import annotations

import json
import keyword
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from pgsync.models import Kind
from pgsync.names import is_plain, quote, snake_case
from pgsync.push.existing import ExistingColumn, ExistingReference, ExistingTable
from pgsync.schema.model import plural_key
from pgsync.schema.resolve import BASE_FIELDS, MAX_NAME, OUR_NAMESPACES
from pgsync.schema.types import (
    BIGINT,
    BOOLEAN,
    BYTEA,
    DATE,
    DOUBLE,
    INTEGER,
    JSONB,
    NUMERIC,
    TEXT,
    TIMESTAMPTZ,
    UUID_TYPE,
    ColumnType,
    default_to_json,
    enumerated,
    is_id_type,
    named,
)

_ANNOTATIONS: Final[dict[Kind, str]] = {
    Kind.TEXT: "str",
    Kind.INTEGER: "int",
    Kind.FLOAT: "float",
    Kind.DECIMAL: "Decimal",
    Kind.BOOLEAN: "bool",
    Kind.TIMESTAMPTZ: "datetime",
    Kind.TIMESTAMP: "datetime",
    Kind.DATE: "date",
    Kind.UUID: "UUID",
    Kind.JSON: "JSON",
    Kind.BYTES: "bytes",
}
_PLAIN: Final = (TEXT, INTEGER, DOUBLE, NUMERIC, BOOLEAN, TIMESTAMPTZ, DATE, UUID_TYPE, JSONB, BYTEA)
_ON_DELETE: Final = {"c": "cascade", "n": "set null", "r": "restrict"}
_IMPORTS: Final = (
    ("datetime", ("date", "datetime")),
    ("decimal", ("Decimal",)),
    ("typing", ("Literal",)),
    ("uuid", ("UUID",)),
)
_OURS: Final = ("JSON", "Field", "Model", "Ref", "Schema", "bigint")
_TENANT: Final = re.compile(
    r"(?i)\A(org|organi[sz]ation|tenant|account|company|workspace|team|client|customer)(_?id|_?uuid|_?key)?\Z"
)
_TEXT_DEFAULT = re.compile(r"'((?:[^']|'')*)'::.+", re.DOTALL)
_NUMBER_DEFAULT = re.compile(r"\(?(-?\d+(?:\.\d+)?)\)?(?:::[a-z ]+(?:\(\d+(?:,\d+)?\))?)?")


class _Access(Enum):
    """What clients may do with rows that belong to no organization."""

    ALL = "everything"
    READ = "read them"
    OWN = "read the one that is their organization"


@dataclass(slots=True)
class _Draft:
    """A table on its way to a class."""

    table: ExistingTable
    name: str
    tenant: ExistingColumn | None
    id: ExistingColumn
    attributes: dict[str, str] = field(default_factory=dict)
    """Attribute by column."""
    access: _Access = _Access.ALL


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file with `models` models; `left_out` says why of each table that has none.

    `shared` are the classes whose rows belong to no organization, `candidates` columns that might say whose a row is,
    each with how many tables have it.
    """

    text: str
    models: int
    left_out: tuple[str, ...]
    shared: tuple[str, ...]
    candidates: tuple[tuple[str, int], ...]


def write_schema(tables: Sequence[ExistingTable], *, tenant: str | Sequence[str] = "organization_id") -> Source:
    """A Python file with a model for each table that can be adopted.

    `tenant` are the columns that say which organization a row belongs to: of each table the first that it has. Where
    some tables have one, rows of the others are everybody's to read and nobody's to write, and those of the table of
    organizations, which these columns refer to, each its organization's to read. Where none has, all models are shared.
    """
    columns = (tenant,) if isinstance(tenant, str) else tuple(tenant)
    drafts, left_out = _draft(tables, columns)
    shared = [d for d in drafts if d.tenant is None]
    candidates = _candidates(drafts) if shared else ()
    if shared and len(shared) < len(drafts):
        roots = {
            (reference.namespace, reference.table, reference.target_columns)
            for draft in drafts
            if draft.tenant is not None
            for reference in draft.table.references
            if reference.columns == (draft.tenant.name,)
        }
        for draft in shared:
            is_root = (draft.table.namespace, draft.table.name, (draft.id.name,)) in roots
            draft.access = _Access.OWN if is_root and _in_rules(draft.id) else _Access.READ
    by_table = {(d.table.namespace, d.table.name): d for d in drafts}
    bodies = [_class(draft, by_table) for draft in drafts]
    names = [d.name for d in drafts]
    body = "\n\n\n".join(bodies)
    used = set(re.findall(r"\b[A-Za-z]\w*\b", "\n".join(line.partition("  # ")[0] for line in body.splitlines())))
    lines = [
        '"""Tables of a database as `pgsync pull` found them. This file is yours to edit.',
        "",
        "Say which rows are shared (scope, groups), who may read them (rule) and what clients may not write",
        "(mutable=False); leave out models and fields that clients need not see.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
    ]
    imports = [
        f"from {module} import {', '.join(w for w in words if w in used)}"
        for module, words in _IMPORTS
        if used & set(words)
    ]
    ours = [word for word in _OURS if word in used or word in ("Model", "Schema")]
    lines += [*imports, *([""] if imports else []), f"from pgsync.schema import {', '.join(ours)}", ""]
    if shared and len(shared) == len(drafts):
        lines += [f"# {line}" for line in _no_tenant(columns, candidates)] + [""]
    lines += [f"# {why}" for why in left_out] + [""] * bool(left_out)
    if bodies:
        lines += ["", body, "", ""]
    listed = ", ".join(names)
    lines.append(f"schema = Schema({listed})" if len(listed) < 100 else _listed(names))
    text = "\n".join(lines) + "\n"
    return Source(text, len(drafts), tuple(left_out), tuple(d.name for d in shared), candidates)


def _no_tenant(columns: Sequence[str], candidates: Sequence[tuple[str, int]]) -> Iterator[str]:
    named = " or ".join(map(_shown, columns))
    yield f"No table has a column {named} that could say which organization a row belongs to, so every model is"
    yield "tenant=None: whoever has a key, of whatever organization, reads and writes all rows. That is right for a"
    yield "database of one organization. Else name the column with --tenant, or narrow them: rule=, mutable=False."
    if candidates:
        found = ", ".join(f"{_shown(name)} ({count} tables)" for name, count in candidates)
        yield f"It could be one of these: {found}."


def _candidates(drafts: Sequence[_Draft]) -> tuple[tuple[str, int], ...]:
    """Columns with a name as tenants have, by how many tables have them."""
    counted = Counter(
        c.name for d in drafts for c in d.table.columns if _TENANT.search(c.name) and _id_type(c) is not None
    )
    return tuple(sorted(counted.items(), key=lambda found: (-found[1], found[0]))[:5])


def _in_rules(column: ExistingColumn) -> bool:
    """Whether a read rule may compare the column with the reader's organization."""
    found = named(column.type)
    return found is not None and found.sql in ("text", "uuid", "integer", "bigint", "smallint")


def _listed(names: Sequence[str]) -> str:
    return "schema = Schema(\n" + "".join(f"    {name},\n" for name in names) + ")"


def _draft(tables: Sequence[ExistingTable], tenants: Sequence[str]) -> tuple[list[_Draft], list[str]]:
    drafts: list[_Draft] = []
    left_out: list[str] = []
    taken: set[str] = set()
    for table in tables:
        where = _shown(f"{table.namespace}.{table.name}")
        tenant_column = next(
            (c for name in tenants if (c := table.column(name)) is not None and _id_type(c) is not None), None
        )
        key = [name for name in table.primary_key if tenant_column is None or name != tenant_column.name]
        found = table.column(key[0]) if len(key) == 1 else None
        unfit = next(
            (n for n in (table.namespace, table.name, *table.primary_key) if not n.isprintable() or n.count("$") > 1),
            None,
        )
        if table.namespace in OUR_NAMESPACES:
            continue
        if not table.primary_key:
            left_out.append(f"{where} is left out: it has no primary key, so nothing tells its rows apart.")
        elif found is None:
            shown = _shown(", ".join(table.primary_key))
            left_out.append(f"{where} is left out: its primary key is ({shown}); a row is found by one column.")
        elif _id_type(found) is None:
            left_out.append(f"{where} is left out: its key {_shown(found.name)} is {_shown(found.type)}, no row id.")
        elif unfit is not None:
            left_out.append(f"{where} is left out: the name {_shown(unfit)} cannot stand in a function.")
        elif (name := _class_name(table.name, taken)) is None:
            left_out.append(f"{where} is left out: another model has its name; give one a key= and typename= by hand.")
        else:
            taken |= _spellings(name, table.name)
            drafts.append(_Draft(table, name, tenant_column, found))
    for draft in drafts:
        _name_attributes(draft)
    return drafts, left_out


def _shown(text: str) -> str:
    """A name as it may stand in a comment."""
    return text if text.isprintable() else repr(text)


def _id_type(column: ExistingColumn) -> ColumnType | None:
    found = named(column.type)
    return found if found is not None and is_id_type(found) and not column.generated else None


def _spellings(class_name: str, table: str) -> set[str]:
    key = _key(table)
    return {key.lower(), class_name.lower(), table.lower(), snake_case(class_name)}


def _words(table: str) -> list[str]:
    words = [w for w in re.split(r"[^a-z0-9]+", snake_case(table)) if w] or ["table"]
    return words if words[0][0].isalpha() else ["t" + words[0], *words[1:]]


def _key(table: str) -> str:
    """The key of a table's model: its name in camelCase, whatever its plural is."""
    first, *others = _words(table)
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def _class_name(table: str, taken: set[str]) -> str | None:
    """A name for the class: the table's in the singular, or as it is where that is taken."""
    words = _words(table)
    singular = [*words[:-1], _singular(words[-1])]
    for parts in (singular, words):
        name = "".join(part[:1].upper() + part[1:] for part in parts)
        name = name[: MAX_NAME // 2] if len(snake_case(name)) > MAX_NAME else name
        free = not _spellings(name, table) & taken and is_plain(snake_case(name))
        if free and name not in _RESERVED_NAMES:
            return name
    return None


_RESERVED_NAMES: Final = {*_OURS, *(word for _, words in _IMPORTS for word in words), "None", "True", "False", "Any"}


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2 else word


def _name_attributes(draft: _Draft) -> None:
    taken = {name.lower() for name in BASE_FIELDS}
    for column in draft.table.columns:
        name = column.name
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            name = re.sub(r"[^a-z0-9_]+", "_", snake_case(name)).strip("_")
            name = name if re.match(r"[a-z]", name) else f"column_{name}".rstrip("_")
        candidate, number = name, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate)
        draft.attributes[column.name] = candidate


def _class(draft: _Draft, by_table: dict[tuple[str, str], _Draft]) -> str:
    table = draft.table
    options = []
    key = _key(table.name)
    if key != plural_key(draft.name):
        options.append(f"key={_text(key)}")
    if table.name != snake_case(key):
        options.append(f"table={_text(table.name)}")
    if table.namespace != "public":
        options.append(f"namespace={_text(table.namespace)}")
    lines: list[str] = []
    if draft.tenant is None:
        options.append("tenant=None")
        if draft.access is not _Access.ALL:
            options.append("mutable=False")
            lines.append(
                "# No column says whose a row is: every organization reads all rows. mutable=False keeps it at that."
            )
        if draft.access is _Access.OWN:
            options.append(f"rule={_text(f'{quote(draft.id.name)} = actor.organization_id')}")
            lines[-1] = "# The organizations themselves: each sees its own row. Without the rule, all would see all."
    else:
        if draft.tenant.name != "organization_id":
            options.append(f"tenant={_text(draft.tenant.name)}")
        if draft.tenant.type != "text":
            options.append(f"tenant_type={_text(draft.tenant.type)}")
    base = {"createdAt": "created_at", "updatedAt": "updated_at", "createdBy": "created_by"}
    there = {name for name, column in base.items() if _is_base(table.column(column), name)}
    if missing := [name for name in base if name not in there]:
        options.append(f"without=[{', '.join(map(_text, missing))}]")
    skipped = {draft.id.name, *(base[name] for name in there)}
    if draft.tenant is not None:
        skipped.add(draft.tenant.name)
    lines += _id(draft)
    relations: set[str] = set(draft.attributes.values())
    for column in table.columns:
        if column.name not in skipped:
            lines += _field(draft, column, by_table, relations)
    written = {line.partition(":")[0] for line in lines if not line.startswith("#") and "readonly=True" not in line}
    for column in table.columns:
        filled = column.default is not None or column.identity or column.generated or not column.not_null
        if not filled and column.name not in skipped and not written & _attributes(draft, column):
            options += ["mutable=False"] * ("mutable=False" not in options)
            lines.insert(
                0, f"# Clients cannot create rows: {_shown(column.name)} has to have a value, and no field has it."
            )
            break
    lines += _other_references(draft, by_table)
    head = f"class {draft.name}(Model{''.join(', ' + option for option in options)}):"
    return "\n".join(
        [head, *(f"    {line}" for line in lines)]
        + ([] if any(not line.startswith("#") for line in lines) else ["    pass"])
    )


def _attributes(draft: _Draft, column: ExistingColumn) -> set[str]:
    name = draft.attributes[column.name]
    return {name, f"{name}_"}


def _is_base(column: ExistingColumn | None, name: str) -> bool:
    wanted = "text" if name == "createdBy" else "timestamp with time zone"
    return column is not None and column.type == wanted and not column.generated


def _id(draft: _Draft) -> Iterator[str]:
    found = named(draft.id.type)
    assert found is not None
    annotation, exact = _annotation(found)
    options = []
    if draft.id.name != "id":
        options.append(f"column={_text(draft.id.name)}")
    if exact:
        options.append(f"sql={_text(draft.id.type)}")
    if options:
        yield f"id: {annotation} = Field({', '.join(options)})"
    elif annotation != "str":
        yield f"id: {annotation}"


def _annotation(found: ColumnType) -> tuple[str, bool]:
    """The Python type, and whether the exact type has to be said beside it."""
    element = found.sql.removesuffix("[]")
    if element == BIGINT.sql:
        annotation, exact = "bigint", False
    else:
        annotation = _ANNOTATIONS[found.kind]
        exact = element not in [t.sql for t in _PLAIN]
    return (f"list[{annotation}]", exact) if found.array else (annotation, exact)


def _field(
    draft: _Draft, column: ExistingColumn, by_table: dict[tuple[str, str], _Draft], relations: set[str]
) -> Iterator[str]:
    if not column.name.isprintable() or column.name.count("$") > 1:
        yield f"# {_shown(column.name)} is left out: the name cannot stand in a function."
        return
    if column.generated and (column.generated == "v" or draft.table.server_version < 180000):
        yield f"# {column.name} is left out: it is generated, and the log of this server does not carry its value."
        return
    choices = column.labels if column.what == "e" else draft.table.choices.get(column.name, ())
    found = _type(column, is_enum=bool(choices) and not column.type.endswith("[]"))
    if isinstance(found, str):
        yield f"# {column.name} is left out: {found}."
        return
    annotation, exact = _annotation(found)
    if choices and not found.array:
        annotation, exact = f"Literal[{', '.join(map(_text, choices))}]", column.type != "text"
    options: list[str] = []
    reference, target = _reference(draft, column, by_table)
    if target is not None and reference is not None:
        annotation = f"Ref[{target.name}]"
        exact = column.type != target.id.type
        options += _reference_options(draft, column, reference, target, relations)
    name = draft.attributes[column.name]
    attribute = name
    if keyword.iskeyword(name) or name in _RESERVED_NAMES:
        attribute = f"{name}_"
        options.append(f"name={_text(name)}")
    if snake_case(name) != column.name:
        options.append(f"column={_text(column.name)}")
    if exact:
        options.append(f"sql={_text(column.type)}")
    comment = ""
    default = _default(column, found, choices)
    if column.generated or column.identity or default is _EXPRESSION:
        options.append("readonly=True")
        said = "generated" if column.generated else "identity" if column.identity else "default"
        shown = column.default or ""
        comment = f"  # {said} {shown}".rstrip() if shown.isprintable() else f"  # {said}"
        default = None if not column.not_null else _NOTHING
    elif default is _NOTHING and not column.not_null:
        default = None
    if not column.not_null:
        annotation += " | None"
    if options:
        first = [] if default is _NOTHING else [_value(default, found)]
        yield f"{attribute}: {annotation} = Field({', '.join([*first, *options])}){comment}"
    elif default is _NOTHING:
        yield f"{attribute}: {annotation}{comment}"
    else:
        yield f"{attribute}: {annotation} = {_value(default, found)}{comment}"


def _type(column: ExistingColumn, *, is_enum: bool) -> ColumnType | str:
    """The type of a field for the column, or why there is none."""
    shown = _shown(column.type)
    if is_enum:
        return enumerated(column.type) or f"no field has the type {shown}"
    if column.what == "c":
        return f"{shown} is of a composite type"
    base = named(column.base)
    if base is None and column.what == "b" and column.takes_text:
        base = TEXT  # citext, say
    is_own = "." in column.type
    if base is None or (is_own and (column.type.endswith("[]") or base.array)):
        return f"no field has the type {shown}"
    if is_own and base.sql not in [t.sql for t in (*_PLAIN, BIGINT)]:
        # A field of a domain has the Python type of what the domain is over.
        base = next((t for t in _PLAIN if t.sql == base.like), None)
        if base is None:
            return f"no field has the type {shown}"
    found = named(column.type, base)
    return found if found is not None else f"no field has the type {shown}"


def _reference(
    draft: _Draft, column: ExistingColumn, by_table: dict[tuple[str, str], _Draft]
) -> tuple[ExistingReference | None, _Draft | None]:
    """The foreign key of a column that can be a relation, and the model that it leads to."""
    for reference in draft.table.references:
        target = by_table.get((reference.namespace, reference.table))
        if target is None:
            continue
        pairs = dict(zip(reference.columns, reference.target_columns, strict=True))
        both = draft.tenant is not None and target.tenant is not None and len(pairs) == 2
        if both and draft.tenant and target.tenant and pairs.get(draft.tenant.name) == target.tenant.name:
            del pairs[draft.tenant.name]
        if pairs == {column.name: target.id.name}:
            found, wanted = named(column.type), named(target.id.type)
            if found is not None and wanted is not None and found.json == wanted.json:
                return reference, target
    return None, None


def _reference_options(
    draft: _Draft, column: ExistingColumn, reference: ExistingReference, target: _Draft, relations: set[str]
) -> Iterator[str]:
    name = draft.attributes[column.name]
    relation = re.sub(r"(?<=.)(_id|Id)\Z", "", name)
    wanted, number = relation, 1
    while wanted in relations:
        wanted = f"{relation}_row" if number == 1 else f"{relation}_row_{number}"
        number += 1
    relations.add(wanted)
    if wanted != relation:
        yield f"relation={_text(wanted)}"
    if draft.tenant is None and target.tenant is not None:
        yield "fk=False"  # rows of all organizations cannot refer to rows of one
    elif (action := _ON_DELETE.get(reference.on_delete)) is not None and (action != "set null" or not column.not_null):
        yield f"on_delete={_text(action)}"


def _other_references(draft: _Draft, by_table: dict[tuple[str, str], _Draft]) -> Iterator[str]:
    """Foreign keys that are no relation of the schema; Postgres holds them all the same."""
    for reference in draft.table.references:
        columns = [draft.table.column(name) for name in reference.columns]
        told = any(c is not None and _reference(draft, c, by_table)[0] is reference for c in columns)
        if not told:
            shown = _shown(f"({', '.join(reference.columns)}) refers to {reference.namespace}.{reference.table}")
            is_here = (reference.namespace, reference.table) in by_table
            yield f"# {shown} by other columns than its key." if is_here else f"# {shown}, which is not in this schema."


class _Mark:
    pass


_NOTHING: Final = _Mark()
_EXPRESSION: Final = _Mark()


def _default(column: ExistingColumn, found: ColumnType, choices: Sequence[str]) -> Any:
    """The default in JSON form, `_NOTHING` where there is none, `_EXPRESSION` where only Postgres knows it."""
    text = column.default
    if text is None:
        return _NOTHING
    value: Any
    if text.startswith("NULL::") or text == "NULL":
        return _NOTHING
    if text in ("true", "false"):
        value = text == "true"
    elif (match := _TEXT_DEFAULT.fullmatch(text)) is not None:
        value = match[1].replace("''", "'")
    elif (match := _NUMBER_DEFAULT.fullmatch(text)) is not None:
        value = match[1]
    else:
        return _EXPRESSION
    try:
        if found.array:
            value = {"{}": []}[value]
        elif found.kind is Kind.JSON:
            value = json.loads(value)
            if value is None:
                return _EXPRESSION
        elif found.kind is Kind.INTEGER:
            value = int(value)
        elif found.kind is Kind.FLOAT:
            value = float(value)
        elif found.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.BYTES):
            return _EXPRESSION
        return default_to_json(value, found, choices or None)
    except (ValueError, KeyError, TypeError):
        return _EXPRESSION


def _value(value: Any, found: ColumnType) -> str:
    """A default, of JSON form, as Python says it."""
    if isinstance(value, str):
        if found.kind is Kind.DECIMAL and not found.array:
            return f"Decimal({_text(value)})"
        if found.kind is Kind.DATE:
            return f"date.fromisoformat({_text(value)})"
        if found.kind is Kind.UUID:
            return f"UUID({_text(value)})"
        return _text(value)
    return repr(value)


def _text(text: str) -> str:
    """A Python literal in double quotes."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else json.dumps(text)
