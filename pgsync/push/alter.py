"""The difference between a model and its table, as steps that read or rewrite no table under a lock that others feel.

Only tables that pgsync made are altered, and only by somebody who asked for it; of others it is said what does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pgsync import sqlfiles
from pgsync.compile.bundle import needs_full_identity
from pgsync.compile.columns import default_literal
from pgsync.compile.functions import TableNames
from pgsync.compile.tables import (
    MADE,
    MARK,
    ForeignKey,
    Index,
    add_column,
    add_foreign_key,
    change_type,
    constraint_name,
    create_index,
    create_table,
    default_of,
    enum_check,
    foreign_keys,
    indexes,
    is_not_null,
    mark_index,
    qualified,
    unfit_names,
)
from pgsync.models import Model
from pgsync.names import MAX_BYTES, literal, quote
from pgsync.push.copies import (
    Copy,
    before_of,
    beside_of,
    copy_steps,
    end_step,
    is_beside,
    make_copy,
    missing_of,
    own_indexes,
)
from pgsync.push.introspect import Column, Installed, Table
from pgsync.push.retype import Way, way_of
from pgsync.push.step import (
    ACCESS_EXCLUSIVE,
    ROW_EXCLUSIVE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    Stage,
    Step,
)
from pgsync.push.wishes import Backfill, Wishes, value_of
from pgsync.schema.resolved import ResolvedField, ResolvedModel, ResolvedSchema

Ask = Callable[[str], Any]
"""Answers a query of one value: what the rows that are there are like, and what others have made of the table."""

Tables = dict[tuple[str, str], Table]

_POLICIES = (
    "pgsync_select",
    "pgsync_read_grant",
    "pgsync_select_writer",
    "pgsync_insert",
    "pgsync_update",
    "pgsync_delete",
)
_WHOLE_NUMBERS = frozenset({"smallint", "integer", "bigint"})
_FIRST_WITH_INPUT_IS_VALID = 160000
_FIRST_TO_NULL_ONE_COLUMN = 150000
_ACTIONS = ("ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE RESTRICT")


@dataclass(slots=True)
class Alterations:
    """`made`: steps that make tables, before anything is locked; `steps`: those that alter them, in order.

    `renames`: what a renamed field means to our own state. `again`: statements on tables, by kind and identity, that
    have to run although they are as they were, because a step takes out what they made. `places`: tables that get
    another name, quoted: the one of now by the one to come. `misfits`: what keeps a table
    from serving its model and no step mends; `refusals`: what the rows that are there do not allow.
    """

    made: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    renames: list[Step] = field(default_factory=list)
    again: set[tuple[str, str]] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)
    misfits: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def alterations(schema: ResolvedSchema, installed: Installed, tables: Tables, wishes: Wishes, ask: Ask) -> Alterations:
    """What is to be done to the tables of a schema. `wishes` are settled; `migrate` in them is for the caller."""
    result = Alterations()
    references: list[Step] = []
    for model in sorted(schema.models, key=lambda m: m.key):
        table = tables.get((model.namespace, model.table))
        names = TableNames(model)
        before = next((m for m in installed.models if m.key == model.key), None)
        if before is not None and wishes.model_before(model.key) is not None:
            table = _rename_model(schema, model, before, tables, wishes, result, installed)
            if table is None:
                continue
        if table is None or is_ours(model, table, installed):
            unfit = [f"{model.key}: {why}; only a table that exists may" for why in unfit_names(schema, model)]
            result.misfits.extend(unfit)
            needs = list(_needs_of_references(schema, model, tables, ask))
            result.misfits.extend(needs)
            if unfit or needs:
                continue
        if table is None:
            result.made.extend(_create(model))
            references.extend(_references_of_new(schema, model, tables))
            continue
        altering = _Altering(
            schema,
            tables,
            model,
            names,
            table,
            before,
            wishes,
            ask,
            result,
            ours=is_ours(model, table, installed),
            installed=bool(installed.migrations),
        )
        altering.run()
    result.steps.extend(references)
    return result


def is_ours(model: ResolvedModel, table: Table, installed: Installed) -> bool:
    """Whether pgsync made the table."""
    marked = table.comment is not None and table.comment.startswith(MARK)
    return marked or installed.hash_of("table", TableNames(model).table) is not None


def _rename_model(
    schema: ResolvedSchema,
    model: ResolvedModel,
    before: Model,
    tables: Tables,
    wishes: Wishes,
    result: Alterations,
    installed: Installed,
) -> Table | None:
    """The table of a model that has another name from now on, as it is once it has been renamed; None: it cannot be."""
    then = wishes.model_before(model.key)
    here, there = TableNames(model).table, f"{quote(before.namespace)}.{quote(before.table)}"
    old, new = tables.get((before.namespace, before.table)), tables.get((model.namespace, model.table))
    moves = here != there
    where = f"{model.key}: table {there}"
    if moves and old is not None and new is not None:
        result.misfits.append(f"{where} and {here} are both there: drop or rename one, or keep the name in the model")
        return None
    table = old if moves and old is not None else new
    if table is None:
        result.misfits.append(f"{where} is gone")
        return None
    ours = is_ours(model, table, installed)
    if moves and old is not None and (before.namespace != model.namespace or not ours):
        statement = f"ALTER TABLE {there} RENAME TO {quote(model.table)}"
        why = "was not made by pgsync" if not ours else "would move to another namespace"
        result.misfits.append(f"{where} {why}; keep its name with table={before.table!r}, or rename it: {statement}")
        return None
    result.renames.append(
        Step(
            f"{model.key}: model {then} is {model.key}",
            sqlfiles.render(
                "on_table/rename_model.sql",
                key=model.key,
                before=then,
                arguments=[
                    literal(t)
                    for t in (
                        *(before.name, model.name, then or "", model.key),
                        *(before.typename.lower(), model.typename.lower()),
                        *(before.namespace, before.table, model.namespace, model.table),
                    )
                ],
            ),
            risk=f"clients that know {then} are refused until they have the new schema, and told its name",
            undo="rename it back",
            breaks=True,
        )
    )
    if not ours:
        return table
    wanted = {"pkey", *(i.name.removeprefix(f"{model.table}_") for i in indexes(model))}
    wanted |= {k.name.removeprefix(f"{model.table}_") for k in foreign_keys(schema, model)}
    wanted |= {f"{f.column}_{suffix}" for f in model.fields for suffix in ("check", "required")}

    def renamed(there_now: Iterable[str]) -> dict[str, str]:
        stem = f"{before.table}_"
        return {
            name: f"{model.table}_{name.removeprefix(stem)}"
            for name in sorted(there_now)
            if moves and name.startswith(stem) and name.removeprefix(stem) in wanted
        }

    constraints, index_names = renamed(table.constraints), renamed(table.indexes)
    if moves and old is not None:
        result.places[here] = there
    namespace = quote(model.namespace)
    sequence = f"{{}}_{model.id.column}_seq"
    sql = sqlfiles.render(
        "on_table/rename_table.sql",
        key=model.key,
        before=then,
        there=there if moves and old is not None else "",
        name=quote(model.table),
        table=here,
        mark=literal(f"{MARK}{model.key}]"),
        constraints=[{"before": quote(a), "now": quote(b)} for a, b in constraints.items()],
        indexes=[{"before": f"{namespace}.{quote(a)}", "now": quote(b)} for a, b in index_names.items()],
        sequence=f"{namespace}.{quote(sequence.format(before.table))}" if moves and model.id.identity else "",
        sequence_now=quote(sequence.format(model.table)),
    )
    risk = f"other users of the table that name {before.table} break; to keep the name say table={before.table!r}"
    result.steps.append(
        Step(
            f"{model.key}: table {before.table} is {model.table}",
            sql,
            lock=ACCESS_EXCLUSIVE,
            tables=(here,),
            risk=risk if moves else "",
            undo=f"ALTER TABLE {here} RENAME TO {quote(before.table)}" if moves else "rename the model back",
            breaks=True,
        )
    )
    return replace(
        table,
        constraints={constraints.get(n, n): c for n, c in table.constraints.items()},
        indexes={index_names.get(n, n): i for n, i in table.indexes.items()},
    )


def _create(model: ResolvedModel) -> Iterator[Step]:
    names = TableNames(model)
    undo = f"DROP TABLE {names.table}"
    yield Step(f"{model.key}: create table {names.table}", create_table(model), undo=undo)
    for index in indexes(model):
        yield Step(f"{model.key}: index {index.name}", create_index(model, index), undo="goes with the table")


def _references_of_new(schema: ResolvedSchema, model: ResolvedModel, tables: Tables) -> Iterator[Step]:
    names = TableNames(model)
    for key in _references(schema, model, tables):
        target = next(m for m in schema.models if TableNames(m).table == key.target)
        exists = (target.namespace, target.table) in tables
        yield Step(
            f"{model.key}: reference {key.name}",
            add_foreign_key(model, key, valid=True),
            lock=SHARE_ROW_EXCLUSIVE if exists else "",
            tables=(key.target,) if exists else (),
            undo=f"ALTER TABLE {names.table} DROP CONSTRAINT {quote(key.name)}",
        )


def _references(schema: ResolvedSchema, model: ResolvedModel, tables: Tables) -> Iterator[ForeignKey]:
    """The references of a model. Into a table whose key is the id alone, which is somebody else's, they name that."""
    for key in foreign_keys(schema, model):
        target = next(m for m in schema.models if TableNames(m).table == key.target)
        table = tables.get((target.namespace, target.table))
        if table is None or table.primary_key != (target.id.column,):
            yield key
        else:
            action = key.action.partition(" (")[0]
            yield replace(key, columns=quote(key.column), target_columns=quote(target.id.column), action=action)


def _needs_of_references(schema: ResolvedSchema, model: ResolvedModel, tables: Tables, ask: Ask) -> Iterator[str]:
    """References that this server cannot make, and what to do."""
    keys = [key for key in _references(schema, model, tables) if key.nulls_one_column]
    if keys and int(ask(sqlfiles.read("push/server_version.sql"))) < _FIRST_TO_NULL_ONE_COLUMN:
        for key in keys:
            yield (
                f"{model.key}: {key.relation} is to be set null on delete, and its organization not,"
                " which PostgreSQL can from 15 on; give it another on_delete"
            )


@dataclass(slots=True)
class _Altering:
    """One table that exists."""

    schema: ResolvedSchema
    tables: Tables
    model: ResolvedModel
    names: TableNames
    table: Table
    before: Model | None
    wishes: Wishes
    ask: Ask
    result: Alterations
    ours: bool
    installed: bool
    renamed: dict[str, str] = field(default_factory=dict)
    """Columns that are about to be renamed: the name of now by the one of before."""
    constraints_then: set[str] = field(default_factory=set)
    indexes_then: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    """Names of constraints and indexes of now that go on under another name, or go with their column."""
    renamed_indexes: dict[str, str] = field(default_factory=dict)
    """Indexes that go on under another name: that one by the name of now."""
    copies: list[Copy] = field(default_factory=list)
    """Columns whose type changes by way of another column."""

    def run(self) -> None:
        where = f"{self.model.key}: table {self.model.namespace}.{self.model.table}"
        if self.table.kind not in ("r", "p"):
            self.result.misfits.append(f"{where} is not a table; name a table of this database in the model")
            return
        if not self.table.logged:
            self.result.misfits.append(
                f"{where} is unlogged or temporary, so nobody would hear of its changes: ALTER TABLE {self._there} SET"
                " LOGGED"
            )
        if self.table.rules and self.model.mutable and (self.before is None or not self.before.mutable):
            drops = "; ".join(f"DROP RULE {name} ON {self._there}" for name in self.table.rules)
            self.result.misfits.append(
                f"{where} has rules that write something else than clients do, or keep them from creating rows: use"
                f" triggers in their place ({drops}), or make the model mutable=False"
            )
        key = [c for c in (self.model.tenant_column, self.model.id.column) if c is not None]
        if list(self.table.primary_key) not in (sorted(key), [self.model.id.column]):
            # Writes find a row by it, and it is what the log says of a row that is gone.
            wanted = " or ".join(dict.fromkeys((f"({', '.join(key)})", f"({self.model.id.column})")))
            is_now = ", ".join(self.table.primary_key)
            self.result.misfits.append(f"{where}, its primary key is ({is_now}); it has to be {wanted}")
        self._rename(where)
        for f in self.model.fields:
            self._column(f, where)
        virtual = [name for name, column in self.table.columns.items() if column.generated == "v"]
        full = needs_full_identity(self.model) or self.model.tenant_column not in (None, *self.table.primary_key)
        if virtual and full:
            self.result.misfits.append(
                f"{where} has the virtual column {virtual[0]}, and its whole old rows would have to be logged: Postgres"
                " refuses every update of such a table; make the column STORED"
            )
        if self.ours:
            self._copy()
            self._let_go()
            self._index()
            self._refer()
            if self.wishes.migrate:  # what stays behind is in nobody's way
                self._let_references_go()
                self._let_indexes_go()

    @property
    def _there(self) -> str:
        """The name that the table has before the transaction."""
        return self.result.places.get(self.names.table, self.names.table)

    def _step(self, title: str, sql: str, **more: object) -> None:
        given = {"lock": ACCESS_EXCLUSIVE, "tables": (self.names.table,)} | more
        self.result.steps.append(Step(f"{self.model.key}: {title}", sql, **given))  # type: ignore[arg-type]

    def _refuse(self, message: str) -> None:
        self.result.refusals.append(f"{self.model.key}: {message}")

    def _rename(self, where: str) -> None:
        self.constraints_then = set(self.table.constraints)
        self.indexes_then = set(self.table.indexes)
        for f in self.model.fields:
            rename = self.wishes.rename_to(self.model.key, f.name)
            was = self.before.field(rename.before) if rename is not None and self.before is not None else None
            if rename is None or was is None:
                continue
            if was.name != f.name:
                sql = sqlfiles.render(
                    "on_table/rename_field.sql",
                    key=self.model.key,
                    before=was.name,
                    now=f.name,
                    model_literal=literal(self.model.name),
                    before_literal=literal(was.name),
                    now_literal=literal(f.name),
                )
                risk = f"clients that know {was.name} are refused until they have the new schema"
                title = f"{self.model.key}: field {was.name} is {f.name}"
                self.result.renames.append(Step(title, sql, risk=risk, undo="rename it back", breaks=True))
            if was.column == f.column or was.column not in self.table.columns or f.column in self.table.columns:
                continue
            if not self.ours:
                statement = f"ALTER TABLE {self.names.table} RENAME COLUMN {quote(was.column)} TO {quote(f.column)}"
                self.result.misfits.append(f"{where} was not made by pgsync; rename the column yourself: {statement}")
                continue
            self._rename_column(was.column, f)

    def _rename_column(self, before: str, f: ResolvedField) -> None:
        model, table = self.model, self.table
        self.renamed[before] = f.column
        stems = [""] if model.tenant_column is None else ["", f"{model.tenant_column}_"]

        def renames(there: set[str], suffixes: tuple[str, ...], prefixes: list[str]) -> list[tuple[str, str]]:
            return [
                (old, constraint_name(model, f"{p}{f.column}_{s}"))
                for p in prefixes
                for s in suffixes
                if (old := constraint_name(model, f"{p}{before}_{s}")) in there
            ]

        constraints = renames(set(table.constraints), ("check", "fkey", "required"), [""])
        suffixes = ("idx", "key", f"{model.tenant_column}_idx", f"{model.tenant_column}_key")
        index_names = renames(set(table.indexes), suffixes, stems)
        self.kept |= {old for old, _ in (*constraints, *index_names)}
        self.renamed_indexes.update(index_names)
        for old, now in constraints:
            self.constraints_then = (self.constraints_then - {old}) | {now}
        for old, now in index_names:
            self.indexes_then = (self.indexes_then - {old}) | {now}
        namespace = quote(model.namespace)
        sql = sqlfiles.render(
            "on_table/rename_column.sql",
            key=model.key,
            before=before,
            now=f.column,
            table=self.names.table,
            column_before=quote(before),
            column=quote(f.column),
            constraints=[{"before": quote(old), "now": quote(now)} for old, now in constraints],
            indexes=[{"before": f"{namespace}.{quote(old)}", "now": quote(now)} for old, now in index_names],
        )
        self._step(
            f"rename column {before} to {f.column}",
            sql,
            breaks=True,
            risk=f"other users of the table that name {before} break",
            undo=f"ALTER TABLE {self.names.table} RENAME COLUMN {quote(f.column)} TO {quote(before)}",
        )

    def _column(self, f: ResolvedField, where: str) -> None:
        was = next((old for old, now in self.renamed.items() if now == f.column), f.column)
        column = self.table.columns.get(was)
        if column is None:
            if self.ours:
                self._add(f)
            else:
                self.result.misfits.append(
                    f"{where} has no column {f.column} for field {f.name}; pgsync did not make the table, add it"
                    f" yourself: ALTER TABLE {self.names.table} ADD COLUMN {quote(f.column)} {f.sql_type}"
                )
            return
        if column.sql_type != f.sql_type and self._retype(f, column, was, where):
            return
        if column.generated and (self.table.server_version < 180000 or column.generated == "v"):
            self.result.misfits.append(
                f"{where}, column {f.column} is generated, and this server's log does not carry its value"
                f" (PostgreSQL 18 does, of stored ones): leave field {f.name} out"
            )
        elif column.generated and not f.readonly:
            self.result.misfits.append(
                f"{where}, column {f.column} is generated, nobody can write it: make field {f.name}"
                " Field(readonly=True)"
            )
        if not self.ours:
            return
        if column.not_null and not is_not_null(self.model, f):
            self._drop_not_null(f.column, f"Field {f.name} of model {self.model.key} is optional.")
        elif not column.not_null and is_not_null(self.model, f):
            self._require(f, was)
        if column.sql_type == f.sql_type:
            self._values(f, was)

    def _is_elsewhere(self, f: ResolvedField) -> bool:
        """Whether the field had a column, which is gone, and one of its type has come that is no field's."""
        if self.before is None or self.wishes.allows(f"{self.model.key}.{f.name}"):
            return False
        known = self.before.field_of_column(f.column)
        if known is None:
            return False
        used = {g.column for g in self.model.fields} | {g.column for g in self.before.fields}
        found = [n for n, c in self.table.columns.items() if n not in used and c.sql_type == known.sql_type]
        if found:
            self._refuse(
                f"column {f.column} is gone, or has another name by hand (no field has {', '.join(found)}): give field"
                f" {known.name} its new name in the schema and say --rename {self.model.key}.{known.name}:NAME, rename"
                f" the column back, or say --allow {self.model.key}.{f.name} for a new, empty column"
            )
        return bool(found)

    def _add(self, f: ResolvedField) -> None:
        if self._is_elsewhere(f):
            return
        backfill = self.wishes.backfill_of(self.model.key, f.name)
        needs_value = is_not_null(self.model, f) and not f.base and f.default is None and not f.identity
        if needs_value and backfill is None and self._holds("true", "there are rows"):
            self._refuse(
                f"rows have no value for the new field {f.name}: give it a default, make it optional, or say"
                f" --backfill {self.model.key}.{f.name}=VALUE"
            )
        fill = _filling(backfill, f) if backfill is not None else ""
        check = enum_check(self.model, f)
        undo = f"ALTER TABLE {self.names.table} DROP COLUMN {quote(f.column)}"
        breaks = needs_value and self.before is not None
        sql = add_column(self.model, f, fill)
        self._step(f"add column {f.column}", sql, undo=undo, breaks=breaks)
        if check:
            self._validate(constraint_name(self.model, f"{f.column}_check"))

    def _retype(self, f: ResolvedField, column: Column, was: str, where: str) -> bool:
        """Whether the column is copied, which settles everything else about it as well."""
        said = f"column {was} is {column.sql_type}, field {f.name} says {f.sql_type}"
        if not self.ours:
            said = f"{where}, {said}"
            self.result.misfits.append(f"{said}; change one of them, the field with Field(sql={column.sql_type!r})")
            return False
        way = way_of(column.sql_type, f.sql_type)
        if not self._holds("true", "there are rows"):
            undo = "push the type before, while the table is empty"
            sql = change_type(self.model, f, self._policies_of(f, was))
            self._step(f"column {f.column} becomes {f.sql_type}", sql, undo=undo, breaks=True)
        elif why := self._why_not(f, column, was, way):
            by_hand = (
                f"ALTER TABLE {self._there} ALTER COLUMN {quote(was)} TYPE {f.sql_type}"
                f" USING {quote(was)}::{f.sql_type}"
            )
            self._refuse(
                f"{said}: {why}. What Postgres would do writes the table anew while nobody can read it: {by_hand}"
            )
            return True
        elif way is Way.RELABEL:
            self._widen(f, column, was)
        else:
            backfill = self.wishes.backfill_of(self.model.key, f.name)
            otherwise = _filling(backfill, f) if backfill is not None else ""
            renamed = self.renamed_indexes
            self.copies.append(make_copy(self.model, self.table, f, way, otherwise, was=was, renamed=renamed))
            return True
        if enum_check(self.model, f):
            self._validate(constraint_name(self.model, f"{f.column}_check"))
        return False

    def _why_not(self, f: ResolvedField, column: Column, was: str, way: Way) -> str:
        """What keeps a column of a table with rows from getting another type; "" for nothing."""
        model = self.model
        lossy = way is Way.LOSSY
        if f.column in (model.id.column, model.tenant_column):
            return "rows are known by it, here and in clients"
        if self._there != self.names.table:
            return "its table gets another name, too: do that in a push of its own"
        old = replace(f, column=was)
        if f.enum_values is not None:
            listed = ", ".join(literal(v) for v in f.enum_values)
            if self._holds(f"t.{quote(was)}::text NOT IN ({listed})", f"it is none of {listed}"):
                return f"some rows have none of the values {listed}: change them first"
        own = own_indexes(model, self.table, old)
        built = {f"{index.name}_retyped" for index in indexes(model) if index.field == f.name}
        own |= {f"{name}_retyped" for name in own} | built | {missing_of(model, old)}
        others = self.ask(
            sqlfiles.render(
                "push/dependents.sql",
                table_literal=literal(self.names.table),
                column_literal=literal(was),
                constraints=", ".join(literal(constraint_name(model, f"{was}_{s}")) for s in ("check", "required")),
                indexes=", ".join(map(literal, sorted(own))),
                relabel=way is Way.RELABEL,
            )
        )
        if others:
            return f"this names the column and would be lost or in the way: {others}"
        if way is Way.RELABEL:
            return ""
        if self.table.kind != "r":
            return (
                "the table is partitioned, which no copy can be made beside: add a field of the new type, fill it, and"
                " let this one leave the schema"
            )
        if not self.installed:
            return "pgsync is not in this database yet: push the schema with the type of before first"
        if not self.ask(
            sqlfiles.render(
                "push/castable.sql",
                before=literal(column.sql_type.removesuffix("[]")),
                now=literal(f.sql_type.removesuffix("[]")),
            )
        ):
            return "Postgres knows no way from one to the other: add a field of the new type and fill it yourself"
        if is_not_null(model, f) and not column.not_null and self._holds(f"t.{quote(was)} IS NULL", "it has none"):
            return "some rows have no value, and it becomes required, too: do that in a push of its own"
        if lossy and (f.unique or self._policies_of(f, was)):
            return "values may be rounded or cut off, and they tell rows apart or who sees them"
        beside = self.table.columns.get(beside_of(old))
        if beside is not None and not is_beside(beside):
            return f"there is a column {beside_of(old)} already, which pgsync would make: rename it"
        if lossy and before_of(f) in self.table.columns:
            return f"the column of before would stay as {before_of(f)}, which is there already: drop or rename it"
        longest = max([beside_of(old), before_of(f), *own], key=len)
        if len(longest.encode()) > MAX_BYTES:
            return f"it needs an object {longest}, longer than the {MAX_BYTES} bytes of a name"
        textual = way_of(column.sql_type, "text") is Way.RELABEL or {column.sql_type, f.sql_type} <= _WHOLE_NUMBERS
        if lossy and textual and self.table.server_version >= _FIRST_WITH_INPUT_IS_VALID:
            valid = f"pg_catalog.pg_input_is_valid(t.{quote(was)}::text, {literal(f.sql_type)})"
            backfill = self.wishes.backfill_of(model.key, f.name)
            if backfill is None and self._holds(f"NOT {valid}", f"it is no {f.sql_type}"):
                return (
                    f"some rows have a value that is no {f.sql_type}: change them, or say"
                    f" --backfill {model.key}.{f.name}=VALUE"
                )
        return ""

    def _policies_of(self, f: ResolvedField, was: str) -> tuple[str, ...]:
        """The policies to drop before a column is replaced, and to make anew after it."""
        before = self.before
        if before is None:
            return ()
        named = {g.column for g in (*self.model.groups, *before.groups)}
        if {f.column, was} & named or before.rule is not None or self.model.rule is not None:
            self.result.again.add(("row_security", self.names.table))
            return _POLICIES
        return ()

    def _widen(self, f: ResolvedField, column: Column, was: str) -> None:
        check = constraint_name(self.model, f"{f.column}_check")
        sql = sqlfiles.render(
            "on_table/widen_type.sql",
            key=self.model.key,
            field=f.name,
            table=self.names.table,
            column=quote(f.column),
            type=f.sql_type,
            check=quote(check) if constraint_name(self.model, f"{was}_check") in self.table.constraints else "",
            policies=self._policies_of(f, was),
            default=default_of(f),
            constraint=enum_check(self.model, f),
        )
        undo = f"ALTER TABLE {self.names.table} ALTER COLUMN {quote(f.column)} TYPE {column.sql_type}, a rewrite"
        self._step(f"column {f.column} becomes {f.sql_type}", sql, undo=undo, breaks=True)

    def _copy(self) -> None:
        """Columns get another type beside readers and writers, and what was given up of that is taken out."""
        besides = {c.beside_name for c in self.copies}
        left = [n for n, column in self.table.columns.items() if is_beside(column) and n not in besides]
        if left and self.wishes.migrate:
            self.result.steps.append(end_step(self.model, left, whole=not self.copies))
        if not self.copies:
            return
        policies = {p for c in self.copies for p in self._policies_of(c.field, c.source_name)}
        ordered = [p for p in _POLICIES if p in policies]
        self.result.steps.extend(copy_steps(self.model, self.table, self.copies, ordered))
        for c in self.copies:
            own = own_indexes(self.model, self.table, replace(c.field, column=c.source_name))
            self.kept |= own  # they go with the column
            self.indexes_then.update(index.name for index in indexes(self.model) if index.field == c.field.name)
            if c.constraint:
                self._validate(constraint_name(self.model, f"{c.field.column}_check"))
            if c.required:
                self._validate(constraint_name(self.model, f"{c.field.column}_required"))
                self._set_not_null(c.field)

    def _drop_not_null(self, column: str, why: str) -> None:
        sql = sqlfiles.render("on_table/drop_not_null.sql", why=why, table=self.names.table, column=quote(column))
        undo = f"ALTER TABLE {self.names.table} ALTER COLUMN {quote(column)} SET NOT NULL"
        self._step(f"column {column} may be null", sql, undo=undo)

    def _let_go(self) -> None:
        """A column that no field uses any more must not be in the way of new rows."""
        used = {f.column for f in self.model.fields} | set(self.renamed)
        for name, column in self.table.columns.items():
            if name not in used and column.not_null and not column.filled:
                self._drop_not_null(
                    name, f"No field of model {self.model.key} uses the column any more; new rows have no value for it."
                )

    def _require(self, f: ResolvedField, was: str) -> None:
        model, table = self.model, self.names.table
        name = constraint_name(model, f"{f.column}_required")
        column = quote(f.column)
        values = {"key": model.key, "field": f.name, "table": table, "name": quote(name), "column": column}
        backfill = self.wishes.backfill_of(model.key, f.name)
        check = self.table.constraints.get(constraint_name(model, f"{was}_required"))
        known = self.before.field(f.name) if self.before is not None else None
        if check is None and backfill is None and (self.wishes.force or (known is not None and known.required)):
            if self._holds(f"t.{quote(was)} IS NULL", "it has none"):
                return  # new rows have to have it; those that are there keep their nulls until somebody fills them
        elif check is None or not check.validated:
            self._fill_where(f, was, f"t.{quote(was)} IS NULL", "it has none")
        if check is None:
            sql = sqlfiles.render("on_table/require.sql", **values)
            risk = f"a write without {f.name} is refused from now on"
            undo = f"ALTER TABLE {table} DROP CONSTRAINT {quote(name)}"
            self._step(f"column {f.column} is required", sql, risk=risk, undo=undo, breaks=True)
        if check is None or not check.validated:
            if backfill is not None:
                self._fill(f, f.column, f"t.{column} IS NULL", "it has none", Stage.AFTER)
            self._validate(name)
        self._set_not_null(f)

    def _set_not_null(self, f: ResolvedField) -> None:
        table, column = self.names.table, quote(f.column)
        name = quote(constraint_name(self.model, f"{f.column}_required"))
        self._step(
            f"column {f.column} is NOT NULL",
            sqlfiles.render(
                "on_table/required.sql", key=self.model.key, field=f.name, table=table, name=name, column=column
            ),
            undo=f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL",
            stage=Stage.AFTER,
        )

    def _values(self, f: ResolvedField, was: str) -> None:
        model = self.model
        name = constraint_name(model, f"{f.column}_check")
        there = self.table.constraints.get(constraint_name(model, f"{was}_check"))
        values = there.enum_values if there is not None else None
        if there is not None and values is None and f.enum_values:
            self._refuse(
                f"constraint {name} is not what pgsync made: drop it, or take the values out of field {f.name}"
            )
            return
        if values == f.enum_values or (values is None and f.enum_values is None):
            if there is not None and values is not None and not there.validated:
                self._validate(name)
            return
        narrower = f.enum_values is not None and (values is None or not set(values) <= set(f.enum_values))
        if narrower:
            listed = ", ".join(literal(v) for v in f.enum_values or ())
            self._fill_where(f, was, f"t.{quote(was)} NOT IN ({listed})", f"it is none of {listed}")
        sql = sqlfiles.render(
            "on_table/enum_values.sql",
            key=model.key,
            field=f.name,
            table=self.names.table,
            name=quote(name),
            constraint=enum_check(model, f),
        )
        before = "no check" if values is None else ", ".join(values)
        self._step(f"values of column {f.column}", sql, undo=f"the same with what was there: {before}", breaks=narrower)
        if f.enum_values is not None:
            if narrower and self.wishes.backfill_of(model.key, f.name) is not None:
                listed = ", ".join(literal(v) for v in f.enum_values)
                self._fill(
                    f, f.column, f"t.{quote(f.column)} NOT IN ({listed})", f"it is none of {listed}", Stage.AFTER
                )
            self._validate(name)

    def _fill_where(self, f: ResolvedField, column: str, condition: str, what: str) -> None:
        """Rows that will not do are filled beforehand, or the push is refused."""
        if not self._holds(condition, what):
            return
        if self.wishes.backfill_of(self.model.key, f.name) is None:
            self._refuse(
                f"field {f.name} of some rows will not do ({what}): change them, or say"
                f" --backfill {self.model.key}.{f.name}=VALUE"
            )
        else:
            self._fill(f, column, condition, what, Stage.BEFORE)

    def _fill(self, f: ResolvedField, column: str, condition: str, what: str, stage: Stage) -> None:
        backfill = self.wishes.backfill_of(self.model.key, f.name)
        assert backfill is not None
        sql = sqlfiles.render(
            "push/backfill.sql",
            key=self.model.key,
            field=f.name,
            what=what,
            table=self._there if stage is Stage.BEFORE else self.names.table,
            table_literal=literal(self._there if stage is Stage.BEFORE else self.names.table),
            column=quote(column),
            value=_filling(backfill, f),
            condition=condition,
        )
        self._step(
            f"fill field {f.name} where {what}",
            sql,
            lock=ROW_EXCLUSIVE,
            reads=True,
            risk="the rows are written: logged, and streamed to those who see them",
            undo="none: what the rows had was no value of the field",
            stage=stage,
        )

    def _validate(self, name: str) -> None:
        self._step(
            f"validate {name}",
            sqlfiles.render("on_table/validate.sql", table=self.names.table, name=quote(name)),
            lock=SHARE_UPDATE_EXCLUSIVE,
            reads=True,
            stage=Stage.AFTER,
        )

    def _index(self) -> None:
        for index in indexes(self.model):
            there = self.table.indexes.get(index.name)
            is_broken = there is not None and not there.valid
            if index.name in self.indexes_then and not is_broken:
                continue
            name = qualified(self.model, index.name)
            if is_broken:
                sql = sqlfiles.render("on_table/drop_broken_index.sql", index=name)
                self._concurrent(f"drop what an interrupted run left of index {index.name}", sql, reads=False)
            elif index.unique and self._repeats(index):
                self._refuse(f"two rows have the same {index.field}, which is unique: change them")
            self._concurrent(
                f"index {index.name}",
                create_index(self.model, index, concurrently=True),
                undo=f"DROP INDEX CONCURRENTLY {name}",
            )
            self._concurrent(
                f"index {index.name} is pgsync's",
                mark_index(self.model, index),
                reads=False,
                undo=f"COMMENT ON INDEX {name} IS NULL",
            )

    def _let_indexes_go(self) -> None:
        """Indexes that pgsync made and the schema no longer asks for, unless somebody else has come to need them."""
        wanted = {index.name for index in indexes(self.model)} | self.kept
        for name, index in sorted(self.table.indexes.items()):
            made = index.comment is not None and index.comment.startswith(MADE)
            if made and not index.needed and name not in wanted:
                whole = qualified(self.model, name)
                self._step(
                    f"drop index {name}, which the schema no longer asks for",
                    sqlfiles.render("on_table/drop_index.sql", index=whole),
                    lock=SHARE_UPDATE_EXCLUSIVE,
                    risk="queries that use it read the table instead; what it kept unique may repeat",
                    undo=index.definition.replace(" INDEX ", " INDEX CONCURRENTLY ", 1),
                    stage=Stage.AFTER,
                )

    def _let_references_go(self) -> None:
        """References that pgsync made and the schema no longer has."""
        wanted = {key.name for key in _references(self.schema, self.model, self.tables)} | self.kept
        for name, there in sorted(self.table.constraints.items()):
            made = there.comment is not None and there.comment.startswith(MADE)
            if there.kind == "f" and made and name not in wanted:
                self._step(
                    f"drop reference {name}, which the schema no longer has",
                    sqlfiles.render(
                        "on_table/drop_foreign_key.sql", key=self.model.key, table=self.names.table, name=quote(name)
                    ),
                    tables=(self.names.table, there.refers_to or self.names.table),
                    risk="rows may refer to rows that are not there from now on",
                    undo=f"ALTER TABLE {self.names.table} ADD CONSTRAINT {quote(name)} {there.definition} NOT VALID",
                    breaks=self.before is not None,
                )

    def _concurrent(
        self, title: str, sql: str, *, reads: bool = True, undo: str = "", stage: Stage = Stage.AFTER
    ) -> None:
        self._step(title, sql, lock=SHARE_UPDATE_EXCLUSIVE, reads=reads, undo=undo, stage=stage)

    def _refer(self) -> None:
        for key in _references(self.schema, self.model, self.tables):
            there = self.table.constraints.get(key.name)
            tables = (self.names.table, key.target)
            undo = f"ALTER TABLE {self.names.table} DROP CONSTRAINT {quote(key.name)}"
            if there is None and key.name in self.constraints_then:
                continue  # it is renamed
            add = add_foreign_key(self.model, key, valid=False)
            if there is None:
                if key.column in self.table.columns and self._orphans(key.column, key.target):
                    self._refuse(f"rows refer by {key.column} to rows that are not there: change them")
                known = self.before is not None and self.before.field_of_column(key.column) is not None
                self._step(
                    f"reference {key.name}", add, lock=SHARE_ROW_EXCLUSIVE, tables=tables, undo=undo, breaks=known
                )
            elif _action_of(there.definition) != _action_of(key.action):
                sql = sqlfiles.render(
                    "on_table/replace_foreign_key.sql", table=self.names.table, name=quote(key.name), add=add
                )
                self._step(f"what reference {key.name} does on delete", sql, tables=tables, undo=undo)
            elif there.validated:
                continue
            self._validate(key.name)

    def _holds(self, condition: str, what: str) -> bool:
        return bool(self.ask(sqlfiles.render("push/holds.sql", what=what, table=self._there, condition=condition)))

    def _repeats(self, index: Index) -> bool:
        f = self.model.field(index.field)
        if f is None or f.column not in self.table.columns:
            return False
        sql = sqlfiles.render("push/repeats.sql", table=self._there, columns=index.columns, column=quote(f.column))
        return bool(self.ask(sql))

    def _orphans(self, column: str, target: str) -> bool:
        model = next(m for m in self.schema.models if TableNames(m).table == target)
        names = TableNames(model)
        sql = sqlfiles.render(
            "push/orphans.sql",
            table=self._there,
            column=quote(column),
            target=self.result.places.get(target, target),
            id=names.id,
            tenant=self.names.tenant if names.tenant is not None else None,
            target_tenant=names.tenant,
        )
        return bool(self.ask(sql))


def _filling(backfill: Backfill, f: ResolvedField) -> str:
    """The value of a backfill as SQL text; it has been checked."""
    return default_literal(replace(f, default=value_of(backfill, f)))


def _action_of(text: str) -> str:
    """What a foreign key does on delete, without the columns that it names."""
    return next((action for action in _ACTIONS if action in text), "ON DELETE NO ACTION")
