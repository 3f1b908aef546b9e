"""The difference between a model and its table, as steps that read or rewrite no table under a lock that others feel.

Only tables that pgsync made are altered, and only by somebody who asked for it; of others it is said what does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from pgsync import sqlfiles
from pgsync.compile.bundle import needs_full_identity
from pgsync.compile.columns import default_literal
from pgsync.compile.functions import TableNames
from pgsync.compile.tables import (
    MARK,
    ForeignKey,
    Index,
    add_column,
    add_foreign_key,
    change_type,
    constraint_name,
    create_index,
    create_table,
    enum_check,
    foreign_keys,
    indexes,
    is_not_null,
    unfit_names,
)
from pgsync.models import Model
from pgsync.names import literal, quote
from pgsync.push.introspect import Installed, Table
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

Ask = Callable[[str], bool]
"""Answers a query of one boolean: what the rows that are there are like."""

Tables = dict[tuple[str, str], Table]

_ACTIONS = ("ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE RESTRICT")


@dataclass(slots=True)
class Alterations:
    """`made`: steps that make tables, before anything is locked; `steps`: those that alter them, in order.

    `renames`: what a renamed field means to our own state. `misfits`: what keeps a table from serving its model and no
    step mends; `refusals`: what the rows that are there do not allow.
    """

    made: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    renames: list[Step] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def alterations(schema: ResolvedSchema, installed: Installed, tables: Tables, wishes: Wishes, ask: Ask) -> Alterations:
    """What is to be done to the tables of a schema. `wishes` are settled; `migrate` in them is for the caller."""
    result = Alterations()
    references: list[Step] = []
    for model in sorted(schema.models, key=lambda m: m.key):
        table = tables.get((model.namespace, model.table))
        names = TableNames(model)
        if table is None or is_ours(model, table, installed):
            unfit = [f"{model.key}: {why}; only a table that exists may" for why in unfit_names(schema, model)]
            result.misfits.extend(unfit)
            if unfit:
                continue
        if table is None:
            result.made.extend(_create(model))
            references.extend(_references_of_new(schema, model, tables))
            continue
        before = next((m for m in installed.models if m.key == model.key), None)
        altering = _Altering(
            schema, tables, model, names, table, before, wishes, ask, result, is_ours(model, table, installed)
        )
        altering.run()
    result.steps.extend(references)
    return result


def is_ours(model: ResolvedModel, table: Table, installed: Installed) -> bool:
    """Whether pgsync made the table."""
    marked = table.comment is not None and table.comment.startswith(MARK)
    return marked or installed.hash_of("table", TableNames(model).table) is not None


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
    renamed: dict[str, str] = field(default_factory=dict)
    """Columns that are about to be renamed: the name of now by the one of before."""
    constraints_then: set[str] = field(default_factory=set)
    indexes_then: set[str] = field(default_factory=set)

    def run(self) -> None:
        where = f"{self.model.key}: table {self.model.namespace}.{self.model.table}"
        if self.table.kind not in ("r", "p"):
            self.result.misfits.append(f"{where} is not a table; name a table of this database in the model")
            return
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
            self._let_go()
            self._index()
            self._refer()

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
        if column.sql_type != f.sql_type:
            self._retype(f, column.sql_type, where)
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

    def _retype(self, f: ResolvedField, is_now: str, where: str) -> None:
        said = f"{where}, column {f.column} is {is_now}, field {f.name} says {f.sql_type}"
        if not self.ours:
            self.result.misfits.append(f"{said}; change one of them, the field with Field(sql={is_now!r})")
        elif self._holds("true", "there are rows"):
            self._refuse(
                f"column {f.column} is {is_now}, field {f.name} says {f.sql_type}: Postgres would write the whole table"
                f" anew while nobody can read it. Add a field of the new type, copy the values, then let {f.name} go"
            )
        else:
            undo = "push the type before, while the table is empty"
            self._step(f"column {f.column} becomes {f.sql_type}", change_type(self.model, f), undo=undo, breaks=True)
            if enum_check(self.model, f):
                self._validate(constraint_name(self.model, f"{f.column}_check"))

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
        self._step(
            f"column {f.column} is NOT NULL",
            sqlfiles.render("on_table/required.sql", **values),
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
            table=self.names.table,
            table_literal=literal(self.names.table),
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
            is_valid = self.table.indexes.get(index.name)
            if index.name in self.indexes_then and is_valid is not False:
                continue
            qualified = f"{quote(self.model.namespace)}.{quote(index.name)}"
            if is_valid is False:
                sql = sqlfiles.render("on_table/drop_broken_index.sql", index=qualified)
                self._concurrent(f"drop what an interrupted run left of index {index.name}", sql, reads=False)
            elif index.unique and self._repeats(index):
                self._refuse(f"two rows have the same {index.field}, which is unique: change them")
            self._concurrent(
                f"index {index.name}",
                create_index(self.model, index, concurrently=True),
                undo=f"DROP INDEX CONCURRENTLY {qualified}",
            )

    def _concurrent(self, title: str, sql: str, *, reads: bool = True, undo: str = "") -> None:
        self._step(title, sql, lock=SHARE_UPDATE_EXCLUSIVE, reads=reads, undo=undo, stage=Stage.AFTER)

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
        return self.ask(sqlfiles.render("push/holds.sql", what=what, table=self.names.table, condition=condition))

    def _repeats(self, index: Index) -> bool:
        f = self.model.field(index.field)
        if f is None or f.column not in self.table.columns:
            return False
        return self.ask(
            sqlfiles.render("push/repeats.sql", table=self.names.table, columns=index.columns, column=quote(f.column))
        )

    def _orphans(self, column: str, target: str) -> bool:
        model = next(m for m in self.schema.models if TableNames(m).table == target)
        names = TableNames(model)
        return self.ask(
            sqlfiles.render(
                "push/orphans.sql",
                table=self.names.table,
                column=quote(column),
                target=target,
                id=names.id,
                tenant=self.names.tenant if names.tenant is not None else None,
                target_tenant=names.tenant,
            )
        )


def _filling(backfill: Backfill, f: ResolvedField) -> str:
    """The value of a backfill as SQL text; it has been checked."""
    return default_literal(replace(f, default=value_of(backfill, f)))


def _action_of(text: str) -> str:
    """What a foreign key does on delete, without the columns that it names."""
    return next((action for action in _ACTIONS if action in text), "ON DELETE NO ACTION")
