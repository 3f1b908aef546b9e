"""From SchemaJSON to the resolved form, finding everything that is wrong on the way.

The document may come from Python classes, from a file or from somebody's push: nothing in it is trusted to have the
right shape. What we cannot do yet is refused by name, never passed over where that would show a row to more people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from pgsync.expression import Rule, RuleError, parse_rule
from pgsync.models import Grants, Group, Kind
from pgsync.names import FUNCTIONS, GENERATED, MAX_BYTES, PRIVATE, is_plain, snake_case
from pgsync.schema.hash import EXTENSION, canonical_json, model_hash, schema_hash
from pgsync.schema.problem import Problem
from pgsync.schema.resolved import Reference, ResolvedField, ResolvedModel, ResolvedSchema, runtime_field
from pgsync.schema.types import (
    BY_SQL,
    PLAIN,
    TEXT,
    TIMESTAMPTZ,
    ColumnType,
    default_to_json,
    enumerated,
    is_id_type,
    named,
)

BASE_FIELDS: Final = ("id", "createdAt", "updatedAt", "organizationId", "createdBy")
OPTIONAL_BASE_FIELDS: Final = ("createdAt", "updatedAt", "createdBy")
ON_DELETE: Final = ("no action", "restrict", "cascade", "set null")
ON_STALE: Final = ("reject", "notify", "overwrite")
PARTICIPANTS: Final = ("user", "agent", "system")
SYSTEM_COLUMNS: Final = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
OUR_NAMESPACES: Final = (FUNCTIONS, PRIVATE, GENERATED, "information_schema")
QUERY_PARAMETERS: Final = ("limit", "order", "order_by", "starting_after")

MAX_NAME: Final = MAX_BYTES - 12
"""Longest name of a model in SQL: room for the verb in the names of its functions."""

_MODEL_KEYS: Final = frozenset(
    [
        "fields",
        "relations",
        "load",
        "typename",
        "tableName",
        "tenancy",
        "plane",
        "scope",
        "grants",
        "entityRoles",
        "conflict",
        "bootstrapLimit",
        "bootstrapOrderBy",
        "mutable",
        "lazyObservable",
        "persist",
        "autoFill",
        "requiredFields",
        "routingOnly",
    ]
)
_EXTENSION_KEYS: Final = frozenset(
    [
        "strict",
        "id",
        "idColumn",
        "tenant",
        "table",
        "namespace",
        "rule",
        "claims",
        "preempt",
        "without",
        "fields",
        "relations",
    ]
)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_FIELD = re.compile(r"[a-z][A-Za-z0-9_]*\Z")
_KIND = re.compile(r"[a-z][a-z0-9_]*\Z")
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


@dataclass(slots=True)
class _Draft:
    """A model on its way: what later models and checks need to look up."""

    key: str
    entry: Mapping[str, Any]
    extension: Mapping[str, Any]
    typename: str = ""
    name: str = ""
    namespace: str = "public"
    table: str = ""
    tenant_column: str | None = None
    tenant_type: ColumnType = TEXT
    id_type: ColumnType = TEXT
    id_column: str = "id"
    scope_kind: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    fields: list[ResolvedField] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)


def resolve(document: object) -> tuple[ResolvedSchema | None, list[Problem]]:
    """The resolved schema, or None and everything that is wrong with the document."""
    return _Resolver().resolve(document)


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) else None


class _Resolver:
    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._drafts: dict[str, _Draft] = {}

    def resolve(self, document: object) -> tuple[ResolvedSchema | None, list[Problem]]:
        top = _mapping(document)
        if top is None or "models" not in top:
            self._report(
                None, None, "is not a SchemaJSON object", 'send {"v": 3, "models": {..}, "identityRoles": [..]}'
            )
            return None, self._problems
        if top.get("v") != 3:
            self._report(
                None,
                None,
                f"schema version v = {top.get('v')!r} is not 3",
                "write the schema with a builder of version 3",
                "schema_definition_invalid",
            )
        try:
            canonical_json(top)
        except (TypeError, AttributeError, RecursionError) as error:
            self._report(None, None, f"holds a value that JSON cannot carry ({error})", "use JSON values only")
            return None, self._problems
        self._check_top(top)
        self._begin(top)
        for draft in self._drafts.values():
            self._resolve_relations(draft)
            self._resolve_fields(draft)
            self._check_columns(draft)
        self._check_names()
        models = tuple(self._finish(draft) for draft in self._drafts.values())
        if self._problems:
            return None, self._problems
        return ResolvedSchema(models, schema_hash(top), top, tuple(self._warnings)), []

    # The document and its models

    def _check_top(self, top: Mapping[str, Any]) -> None:
        roles = top.get("identityRoles", [])
        if not isinstance(roles, list) or not all(_is_role(role) for role in roles):
            self._report(
                None, None, "identityRoles is not a list of roles", 'write [{"kind": .., "source": {"field", "multi"}}]'
            )
        elif roles:
            self._warn(
                None, None, "identityRoles are kept but not applied", "give credentials their sync groups instead"
            )
        if top.get("sessionSettings"):
            self._warn(
                None, None, "sessionSettings are kept but not applied", "read pgsync.organization_id() in your policies"
            )

    def _begin(self, top: Mapping[str, Any]) -> None:
        entries = _mapping(top["models"])
        extension = _mapping(top.get(EXTENSION, {}))
        extensions = _mapping((extension or {}).get("models", {}))
        if entries is None:
            self._report(None, None, "models is not an object", "key each model by its schema key")
            return
        if extension is None or extensions is None:
            self._report(None, None, f"{EXTENSION} is not an object of models", f"leave {EXTENSION} to this program")
            extensions = {}
        for key in extensions:
            if key not in entries:
                self._report(key, None, f"is in {EXTENSION} but not in models", "push the document as it was written")
        for key, value in entries.items():
            entry, extended = _mapping(value), _mapping(extensions.get(key, {}))
            if entry is None or extended is None:
                self._report(key, None, "is not an object", "write a model entry of SchemaJSON version 3")
                continue
            for unknown in sorted(set(entry) - _MODEL_KEYS):
                self._report(
                    key,
                    None,
                    f"option {unknown!r} is not known here; it may narrow who reads a row, so it is not passed over",
                    "leave it out, or say it with a rule",
                )
            for unknown in sorted(set(extended) - _EXTENSION_KEYS):
                self._report(key, None, f"{EXTENSION} option {unknown!r} is not known", "use the version that wrote it")
            self._drafts[key] = self._draft(_Draft(key, entry, extended))

    def _draft(self, draft: _Draft) -> _Draft:
        key, entry, extension = draft.key, draft.entry, draft.extension
        if not _KEY.match(key):
            self._report(key, None, f"key {key!r} is not an identifier", "use letters, digits and _")
        draft.typename = self._text(draft, "typename", key)
        draft.name = snake_case(draft.typename)
        if not _KEY.match(draft.typename) or not is_plain(draft.name):
            self._report(
                key,
                None,
                f"typename {draft.typename!r} cannot name SQL functions",
                "use letters and digits, as in TaskComment",
            )
        elif len(draft.name) > MAX_NAME:
            self._report(
                key, None, f"name {draft.name!r} is longer than {MAX_NAME} bytes", "give the model a shorter typename"
            )
        draft.namespace = self._choice_text(extension.get("namespace", "public"), draft, "namespace")
        self._check_identifier(draft, None, "namespace", draft.namespace, "namespace=")
        if draft.namespace in OUR_NAMESPACES or draft.namespace.startswith("pg_"):
            self._report(key, None, f"namespace {draft.namespace!r} is not for tables", "name another with namespace=")
        table = self._text(draft, "tableName", key)
        # The builder fills in the key; a name that nobody chose gets the casing of columns.
        chosen = extension.get("table") == table
        draft.table = snake_case(key) if table == key and not chosen else table
        self._check_identifier(draft, None, "table", draft.table, "table= (tableName in TypeScript)")
        self._resolve_tenancy(draft)
        id_name = extension.get("id", "text")
        id_type = named(id_name) if isinstance(id_name, str) else None
        if id_type is None or not is_id_type(id_type):
            self._report(key, "id", f"type {id_name!r} cannot be a row id", "use str, UUID, int or bigint")
        else:
            draft.id_type = id_type
        draft.id_column = self._choice_text(extension.get("idColumn", "id"), draft, "idColumn")
        self._check_identifier(draft, "id", "column", draft.id_column, "Field(column=)")
        if entry.get("plane", "tenant") != "tenant":
            self._report(key, None, f"plane {entry['plane']!r} does not exist here", "leave plane out")
        for option in ("mutable", "lazyObservable"):
            if not isinstance(entry.get(option, True), bool):
                self._report(key, None, f"{option} is not true or false", f"correct {option}")
        if entry.get("load", "instant") not in ("instant", "lazy"):
            self._report(key, None, f"load {entry['load']!r} is not known", "use instant or lazy")
        if extension.get("claims", "advisory") not in ("advisory", "enforced"):
            self._report(key, None, f"claims {extension['claims']!r} is not known", "use advisory or enforced")
        if not isinstance(extension.get("preempt", False), bool):
            self._report(key, None, "preempt is not true or false", "correct preempt")
        self._check_conflict(draft)
        self._resolve_scope(draft)
        for name, (_, meta) in self._declared(draft):
            column = meta.get("column")
            draft.columns[name] = column if isinstance(column, str) else snake_case(name)
        return draft

    def _resolve_tenancy(self, draft: _Draft) -> None:
        tenancy = _mapping(draft.entry.get("tenancy", {"kind": "column", "column": "organization_id"}))
        kind = (tenancy or {}).get("kind")
        column = (tenancy or {}).get("column")
        if kind == "column" and isinstance(column, str):
            draft.tenant_column = column
            self._check_identifier(draft, "organizationId", "tenant column", column, "tenant=")
            type_name = draft.extension.get("tenant", TEXT.sql)
            tenant_type = named(type_name) if isinstance(type_name, str) else None
            if tenant_type is None or not is_id_type(tenant_type):
                self._report(
                    draft.key,
                    "organizationId",
                    f"type {type_name!r} cannot say which organization a row belongs to",
                    "use text, character varying(n), uuid, smallint, integer or bigint",
                )
            else:
                draft.tenant_type = tenant_type
        elif kind in ("parent", "source"):
            self._report(
                draft.key,
                None,
                f"tenancy by {kind} is not supported: a row must say itself which organization it belongs to",
                "give the table a tenant column (policy: { by: 'column' })",
                "tenant_model_missing_organization_id",
            )
        elif kind != "none":
            self._report(
                draft.key,
                None,
                f"tenancy {draft.entry.get('tenancy')!r} is not known",
                'write {"kind": "column", "column": ..} or {"kind": "none"}',
            )

    def _resolve_scope(self, draft: _Draft) -> None:
        scope = draft.entry.get("scope")
        if scope is None or scope is False:
            return
        kind = draft.typename.lower() if scope is True else scope
        if isinstance(kind, str) and _KIND.match(kind):
            draft.scope_kind = kind
        else:
            self._report(
                draft.key,
                None,
                f"scope kind {scope!r} is not a lower-case identifier",
                "write scope=True or a kind such as 'workspace'",
                "schema_scope_kind_invalid",
            )

    def _check_conflict(self, draft: _Draft) -> None:
        conflict = draft.entry.get("conflict")
        if conflict is None:
            return
        mapping = _mapping(conflict)
        if mapping is None or any(k not in PARTICIPANTS or v not in ON_STALE for k, v in mapping.items()):
            self._report(
                draft.key,
                None,
                f"conflict {conflict!r} is not a policy",
                f"map {', '.join(PARTICIPANTS)} to {', '.join(ON_STALE)}",
            )

    def _check_names(self) -> None:
        taken: dict[str, tuple[str, str]] = {}
        for draft in self._drafts.values():
            spellings = {"key": draft.key, "typename": draft.typename, "table": draft.table}
            told: set[str] = set()
            for what, spelling in spellings.items():
                owner, owner_what = taken.setdefault(spelling.lower(), (draft.key, what))
                if owner != draft.key and owner not in told:
                    told.add(owner)
                    self._report(
                        draft.key,
                        None,
                        f"{what} {spelling!r} is also the {owner_what} of {owner!r}, and requests may use either",
                        f"give one of them another {what}",
                    )
        names: dict[str, str] = {}
        for draft in self._drafts.values():
            other = names.setdefault(draft.name, draft.key)
            if other != draft.key and self._drafts[other].typename.lower() != draft.typename.lower():
                self._report(
                    draft.key,
                    None,
                    f"typename {draft.typename!r} gives {draft.name!r} in SQL, as {other!r} does",
                    "rename one",
                )

    # Fields

    def _declared(self, draft: _Draft) -> Iterator[tuple[str, tuple[Mapping[str, Any], Mapping[str, Any]]]]:
        """Well-formed fields: name -> (what is beside it in the extension, its metadata)."""
        fields = _mapping(draft.entry.get("fields", {}))
        extended = _mapping(draft.extension.get("fields", {}))
        for name, value in (fields or {}).items():
            meta, beside = _mapping(value), _mapping((extended or {}).get(name, {}))
            if meta is not None and beside is not None:
                yield name, (beside, meta)

    def _resolve_fields(self, draft: _Draft) -> None:
        key = draft.key
        for where, container in (("fields", draft.entry), (f"{EXTENSION} fields", draft.extension)):
            found = container.get("fields", {})
            if (mapping := _mapping(found)) is None:
                self._report(key, None, f"{where} is not an object", "key each field by its name")
                continue
            for name, value in mapping.items():
                if _mapping(value) is None:
                    self._report(key, name, "is not an object", 'write {"type", "isOptional", "isIndexed"}')
                elif where != "fields" and name not in (_mapping(draft.entry.get("fields", {})) or {}):
                    self._report(
                        key, name, f"is in {EXTENSION} but not in fields", "push the document as it was written"
                    )
        without = self._without(draft)
        draft.fields.append(
            ResolvedField(
                "id",
                draft.id_column,
                draft.id_type.sql,
                draft.id_type.kind,
                base=True,
                identity=draft.id_type.kind is Kind.INTEGER,
                cast=draft.id_type.cast,
            )
        )
        if draft.tenant_column is not None:
            draft.fields.append(
                # Whatever its column holds, an organization is text on the wire.
                ResolvedField(
                    "organizationId",
                    draft.tenant_column,
                    draft.tenant_type.sql,
                    Kind.UUID if draft.tenant_type.kind is Kind.UUID else Kind.TEXT,
                    base=True,
                    cast=draft.tenant_type.cast,
                )
            )
        for name, (beside, meta) in self._declared(draft):
            self._check_field_name(draft, name)
            resolved = self._resolve_field(draft, name, meta, beside)
            if resolved is not None:
                draft.fields.append(resolved)
        for name in ("createdAt", "updatedAt"):
            if name not in without:
                draft.fields.append(ResolvedField(name, snake_case(name), TIMESTAMPTZ.sql, TIMESTAMPTZ.kind, base=True))
        if "createdBy" not in without:
            draft.fields.append(
                ResolvedField("createdBy", "created_by", TEXT.sql, TEXT.kind, nullable=True, strict=False, base=True)
            )

    def _without(self, draft: _Draft) -> list[str]:
        without = draft.extension.get("without", [])
        if not isinstance(without, list) or any(name not in OPTIONAL_BASE_FIELDS for name in without):
            self._report(
                draft.key,
                None,
                f"without {without!r} names something that is always there",
                f"choose from {', '.join(OPTIONAL_BASE_FIELDS)}",
            )
            return []
        return without

    def _check_field_name(self, draft: _Draft, name: str) -> None:
        if name in BASE_FIELDS:
            self._report(
                draft.key,
                name,
                "is a base field, which every row has without being declared",
                "leave it out or give the field another name",
                "schema_reserved_field",
            )
        elif not _FIELD.match(name):
            better = name[:1].lower() + name[1:]
            self._report(
                draft.key,
                name,
                "is not camelCase: a field name begins with a lower-case letter and has letters, digits and _",
                f"call it {better!r}" if _FIELD.match(better) else "give it another name",
                "schema_field_not_camelcase",
            )
        elif re.search(r"[A-Z]{2}", name):
            better = re.sub(r"[A-Z]+", lambda m: m[0][0] + m[0][1:].lower(), name)
            self._report(
                draft.key,
                name,
                "has consecutive capitals, which clients cannot turn into a column name and back",
                f"call it {better!r}",
                "schema_field_consecutive_caps",
            )
        elif name in QUERY_PARAMETERS:
            self._warn(
                draft.key,
                name,
                "has the name of a parameter of lists, so lists cannot filter by it",
                "give it another name",
            )

    def _resolve_field(
        self, draft: _Draft, name: str, meta: Mapping[str, Any], beside: Mapping[str, Any]
    ) -> ResolvedField | None:
        key = draft.key
        json_type, optional, indexed = meta.get("type"), meta.get("isOptional", False), meta.get("isIndexed", False)
        plain = PLAIN.get(json_type) if isinstance(json_type, str) else None
        if plain is None:
            self._report(key, name, f"type {json_type!r} is not known", f"use {', '.join(PLAIN)}")
            return None
        if not isinstance(optional, bool) or not isinstance(indexed, bool):
            self._report(key, name, "isOptional and isIndexed must be true or false", "correct the field")
            return None
        enum_values = self._enum_values(draft, name, meta)
        column_type = self._column_type(draft, name, plain, beside, enum_values is not None)
        if column_type is None:
            return None
        default = beside.get("default")
        if default is not None:
            try:
                default = default_to_json(default, column_type, enum_values)
            except ValueError as error:
                self._report(key, name, f"default {default!r} does not fit: {error}", "correct the default")
        return ResolvedField(
            name=name,
            column=draft.columns[name],
            sql_type=column_type.sql,
            kind=column_type.kind,
            array=column_type.array,
            nullable=optional,
            strict=not optional and draft.extension.get("strict") is True,
            default=default,
            enum_values=enum_values,
            indexed=indexed,
            unique=beside.get("unique") is True,
            readonly=beside.get("readonly") is True,
            cast=column_type.cast,
        )

    def _enum_values(self, draft: _Draft, name: str, meta: Mapping[str, Any]) -> tuple[str, ...] | None:
        if meta.get("type") != "enum":
            return None
        values = meta.get("enumValues")
        if not isinstance(values, list) or not values or not all(isinstance(v, str) and "\0" not in v for v in values):
            self._report(draft.key, name, "is an enum without values", "list its values, all strings")
            return None
        if len(set(values)) != len(values):
            self._report(draft.key, name, "lists an enum value twice", "list each once")
        return tuple(values)

    def _column_type(
        self, draft: _Draft, name: str, plain: ColumnType, beside: Mapping[str, Any], is_enum: bool
    ) -> ColumnType | None:
        reference = next((r for r in draft.references if r.field == name), None)
        exact = beside.get("type")
        if exact is not None:
            said = beside.get("base")
            base = BY_SQL.get(said, plain) if isinstance(said, str) else plain
            found = None
            if isinstance(exact, str):
                found = enumerated(exact) if is_enum else named(exact, base)
            if found is None or found.json != plain.json:
                self._report(
                    draft.key,
                    name,
                    f"column type {exact!r} is not one of a {plain.json} field",
                    "correct the type: write it as psql's \\d prints it, those of your own with their namespace",
                )
                return None
            return found
        if reference is None:
            return plain
        target = self._drafts[reference.target].id_type
        if target.json == plain.json:
            return target
        if reference.enforced:
            self._report(
                draft.key,
                name,
                f"is a {plain.json} but refers to {reference.target!r}, whose ids are {target.sql}",
                f"make it a {target.json} field",
            )
        return plain

    # Relations

    def _resolve_relations(self, draft: _Draft) -> None:
        key = draft.key
        relations = _mapping(draft.entry.get("relations", {}))
        if relations is None:
            self._report(key, None, "relations is not an object", "key each relation by its accessor")
            return
        fields = dict(self._declared(draft))
        extended = _mapping(draft.extension.get("relations", {})) or {}
        for name, value in relations.items():
            relation = _mapping(value)
            kind = (relation or {}).get("type")
            if relation is None or kind not in ("belongsTo", "hasMany", "hasOne"):
                self._report(key, name, "is not a relation", "write belongsTo, hasMany or hasOne")
                continue
            if name in fields:
                self._report(
                    key,
                    name,
                    "is the name of a relation and of a field",
                    "call the field <relation>_id or say relation=",
                )
            target, foreign_key = relation.get("target"), relation.get("foreignKey")
            if not isinstance(target, str) or target not in self._drafts:
                options = _mapping(relation.get("options", {})) or {}
                # An accessor to something that is not synced harms nobody; a constraint or a group would.
                tell = self._report if options.get("fk") or options.get("parent") else self._warn
                tell(key, name, f"refers to {target!r}, which is no model of this schema", self._did_you(target))
                continue
            holder = draft if kind == "belongsTo" else self._drafts[target]
            if not isinstance(foreign_key, str) or foreign_key not in holder.columns:
                if kind == "belongsTo" or foreign_key not in BASE_FIELDS:
                    self._report(
                        key,
                        name,
                        f"foreign key {foreign_key!r} is no field of {holder.key!r}",
                        "declare the field as well",
                    )
                continue
            if kind == "belongsTo":
                self._resolve_belongs_to(draft, name, relation, fields[foreign_key][1], extended.get(name))

    def _resolve_belongs_to(
        self, draft: _Draft, name: str, relation: Mapping[str, Any], meta: Mapping[str, Any], extended: object
    ) -> None:
        key, foreign_key, target = draft.key, relation["foreignKey"], relation["target"]
        if any(r.field == foreign_key for r in draft.references):
            self._report(key, name, f"is a second relation over the field {foreign_key!r}", "use a field for each")
            return
        column = relation.get("foreignKeyColumn", foreign_key)
        if not isinstance(column, str):
            self._report(key, name, "foreignKeyColumn is not a string", "leave it out or correct it")
        elif "column" not in meta and column != foreign_key:
            # Where the builder's own casing made a column of the field's name, that is the column.
            draft.columns[foreign_key] = column
        elif "column" in meta and column not in (meta["column"], foreign_key):
            self._report(
                key,
                name,
                f"foreignKeyColumn {column!r} is not the field's column {meta['column']!r}",
                "make them the same",
            )
        options = _mapping(relation.get("options", {}))
        if options is None or any(not isinstance(value, bool) for value in options.values()):
            self._report(key, name, "options are not true or false", "correct the relation's options")
            options = {}
        on_delete = (_mapping(extended) or {}).get("onDelete", "no action")
        if on_delete not in ON_DELETE:
            self._report(key, name, f"on_delete {on_delete!r} is not known", f"use {', '.join(ON_DELETE)}")
        enforced = options.get("fk", False)
        if on_delete != "no action" and not enforced:
            self._report(
                key, name, f"has on_delete {on_delete!r} but no foreign key", "leave fk=False or on_delete out"
            )
        if on_delete == "set null" and not meta.get("isOptional", False):
            self._report(
                key,
                foreign_key,
                "is to be set null on delete but may not be null",
                "make it Ref[..] | None, or cascade",
            )
        parent_tenant = self._drafts[target].tenant_column
        if enforced and draft.tenant_column is None and parent_tenant is not None:
            self._report(
                key,
                name,
                f"is shared by all organizations but refers to {target!r}, whose rows belong to one",
                "give the model a tenant column, or drop the foreign key with fk=False",
            )
        draft.references.append(
            Reference(
                relation=name,
                field=foreign_key,
                column=draft.columns[foreign_key],
                target=target,
                on_delete=on_delete,
                parent=options.get("parent", False),
                enforced=enforced,
                to_shared=parent_tenant is None,
            )
        )

    # Columns, groups, rule

    def _check_columns(self, draft: _Draft) -> None:
        taken: dict[str, str] = {}
        for resolved in draft.fields:
            column = resolved.column
            if not resolved.base:
                self._check_identifier(draft, resolved.name, "column", column, "Field(column=) (.from() in TypeScript)")
            if column in SYSTEM_COLUMNS:
                self._report(draft.key, resolved.name, f"column {column!r} is a system column", "name another column")
            other = taken.setdefault(column, resolved.name)
            if other != resolved.name:
                remedy = "give one of them another column"
                code = "invalid_schema"
                if other in BASE_FIELDS or resolved.base:
                    code = "schema_reserved_field"
                    remedy = f"{remedy}, or leave the declared field out"
                self._report(draft.key, resolved.name, f"is stored in column {column!r}, as {other!r} is", remedy, code)

    def _groups(self, draft: _Draft) -> tuple[Group, ...]:
        groups = [Group(draft.scope_kind, draft.id_column)] if draft.scope_kind else []
        for reference in draft.references:
            if not reference.parent:
                continue
            target = self._drafts[reference.target]
            if target.scope_kind is not None:
                groups.append(Group(target.scope_kind, reference.column))
            if self._has_parent_scope(target, {draft.key}):
                if target.scope_kind is None:
                    self._report(
                        draft.key,
                        reference.relation,
                        f"gets its groups from beyond its parent {target.key!r}, which is not supported",
                        f"make {target.key!r} a scope root, or keep the root's id in the row and put it into groups",
                    )
                else:
                    self._warn(
                        draft.key,
                        reference.relation,
                        f"is delivered to the group of its parent {target.key!r} only, not to those beyond it",
                        "keep the root's id in the row and put it into groups",
                    )
        roles = draft.entry.get("entityRoles")
        if roles is not None and not isinstance(roles, list):
            self._report(draft.key, None, "entityRoles is not a list", "list the roles")
        for role in roles if isinstance(roles, list) else ():
            if not _is_role(role):
                self._report(draft.key, None, f"group {role!r} is not a role", "write <lower-case kind>:<field>")
                continue
            source = role["source"]
            found = next((f for f in draft.fields if f.name == source["field"]), None)
            if found is None:
                self._report(
                    draft.key, source["field"], "gives a group but is no field of the model", "name a declared field"
                )
            elif source["multi"] or found.array or not is_id_type(ColumnType(found.sql_type, "", found.kind)):
                self._report(
                    draft.key,
                    source["field"],
                    f"gives a group but holds {found.sql_type}, not one id",
                    "use a field with a single text, UUID or whole number",
                )
            else:
                groups.append(Group(role["kind"], found.column))
        return tuple(dict.fromkeys(groups))

    def _has_parent_scope(self, draft: _Draft, seen: set[str]) -> bool:
        """Whether some ancestor of this model, other than itself, is a scope root."""
        if draft.key in seen:
            return False
        targets = [self._drafts[r.target] for r in draft.references if r.parent]
        return any(t.scope_kind or self._has_parent_scope(t, seen | {draft.key}) for t in targets if t.key != draft.key)

    def _grants(self, draft: _Draft) -> Grants | None:
        value = draft.entry.get("grants")
        if value is None:
            return None
        grants = _mapping(value) or {}
        subject, scope = grants.get("subject"), grants.get("scope")
        if not isinstance(subject, str) or not isinstance(scope, str):
            self._report(
                draft.key,
                None,
                "grants cannot be read",
                "name two relations: subject and scope",
                "schema_grants_shape_invalid",
            )
            return None
        found: dict[str, Reference] = {}
        relations = _mapping(draft.entry.get("relations", {})) or {}
        for what, name in (("subject", subject), ("scope", scope)):
            relation = _mapping(relations.get(name))
            reference = next((r for r in draft.references if r.relation == name), None)
            if not _IDENTIFIER.match(name):
                message, code = f"grants {what} {name!r} is not an identifier", "schema_grants_identifier_unsafe"
            elif relation is None:
                message, code = f"grants {what} {name!r} is no relation", "schema_grants_relation_missing"
            elif reference is None:
                message, code = f"grants {what} {name!r} is not a belongsTo", "schema_grants_relation_kind"
            else:
                found[what] = reference
                continue
            self._report(draft.key, name, message, "name a belongsTo relation of this model", code)
        if len(found) < 2:
            return None
        for reference in found.values():
            field = next(f for f in draft.fields if f.column == reference.column)
            if field.array or not is_id_type(ColumnType(field.sql_type, "", field.kind)):
                self._report(
                    draft.key,
                    reference.relation,
                    f"grants follow {reference.field!r}, which holds {field.sql_type}, not one id",
                    "use a field with a single text, UUID or whole number",
                    "schema_grants_shape_invalid",
                )
                return None
        if draft.tenant_column is None:
            self._report(
                draft.key,
                None,
                "grants by rows that all organizations share, so nobody could say whose participant a row names",
                "give the model a tenant column",
                "schema_grants_shape_invalid",
            )
            return None
        kind = self._drafts[found["scope"].target].scope_kind
        if kind is None:
            self._report(
                draft.key,
                scope,
                f"grants lead to {found['scope'].target!r}, which is not a scope root",
                "give that model scope=True",
                "schema_grants_target_not_scope_root",
            )
            return None
        if draft.entry.get("mutable", True) is True:
            self._warn(
                draft.key,
                None,
                f"grants groups of kind {kind!r} and is written by clients: who may create a row gives itself a group",
                "declare it with mutable=False and write it with SQL, or give credentials operations that leave it out",
            )
        return Grants(found["subject"].column, found["scope"].column, kind)

    def _rule(self, draft: _Draft) -> tuple[str | None, Rule | None]:
        text = draft.extension.get("rule")
        if text is None:
            return None, None
        if not isinstance(text, str):
            self._report(draft.key, "rule", "is not text", "write a boolean SQL expression")
            return None, None
        try:
            return text, parse_rule(text, [runtime_field(f) for f in draft.fields])
        except RuleError as error:
            for refusal in error.refusals:
                self._report(draft.key, "rule", f"{refusal.construct}: {refusal.reason}", refusal.remedy)
            return text, None

    def _finish(self, draft: _Draft) -> ResolvedModel:
        rule, expression = self._rule(draft)
        extension, entry = draft.extension, draft.entry
        return ResolvedModel(
            key=draft.key,
            typename=draft.typename,
            name=draft.name,
            namespace=draft.namespace,
            table=draft.table,
            tenant_column=draft.tenant_column,
            fields=tuple(draft.fields),
            references=tuple(draft.references),
            groups=self._groups(draft),
            grants=self._grants(draft),
            rule=rule,
            expression=expression,
            mutable=entry.get("mutable", True) is True,
            load=entry.get("load", "instant"),
            conflict=entry.get("conflict"),
            claims=extension.get("claims", "advisory"),
            preempt=extension.get("preempt", False) is True,
            hash=model_hash(entry),
        )

    # Reporting

    def _text(self, draft: _Draft, option: str, default: str) -> str:
        return self._choice_text(draft.entry.get(option, default), draft, option) or default

    def _choice_text(self, value: object, draft: _Draft, option: str) -> str:
        if isinstance(value, str):
            return value
        self._report(draft.key, None, f"{option} is not a string", f"correct {option}")
        return ""

    def _check_identifier(self, draft: _Draft, field_name: str | None, what: str, name: str, option: str) -> None:
        """A table that exists may have any name; those that we would have to make are asked more of later."""
        if len(name.encode("utf-8", "replace")) > MAX_BYTES:
            why = f"longer than {MAX_BYTES} bytes"
        elif not name or not name.isprintable():
            why = "empty, or has characters that cannot be printed"
        elif name.count("$") > 1:
            why = "one that could end a function's body: it has more than one $"
        else:
            return
        self._report(draft.key, field_name, f"{what} {name!r} is {why}", f"name another with {option}")

    def _did_you(self, name: object) -> str:
        close = get_close_matches(name, self._drafts, n=1) if isinstance(name, str) else []
        return f"did you mean {close[0]!r}?" if close else f"name one of {', '.join(map(repr, self._drafts)) or 'none'}"

    def _report(
        self, model: str | None, field_name: str | None, message: str, remedy: str, code: str = "invalid_schema"
    ) -> None:
        self._problems.append(Problem(message, remedy, model, field_name, code))

    def _warn(self, model: str | None, field_name: str | None, message: str, remedy: str) -> None:
        self._warnings.append(Problem(message, remedy, model, field_name))


def _is_role(role: object) -> bool:
    mapping = _mapping(role) or {}
    source = _mapping(mapping.get("source")) or {}
    return (
        isinstance(kind := mapping.get("kind"), str)
        and _KIND.match(kind) is not None
        and isinstance(name := source.get("field"), str)
        and _IDENTIFIER.match(name) is not None
        and isinstance(source.get("multi"), bool)
    )
