"""How a column of a table with rows gets another type: beside readers and writers, by a copy that takes its place.

A column is added, a trigger gives it the same value with every write, the rows that are there are copied a few pages at
a time, and its indexes are built; all of that concerns nobody who uses the version before. Then the two change places,
in the transaction of the new version. A push that was interrupted, or that is given up, leaves the version before as it
was, and the next one goes on or takes the copy out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pgsync import sqlfiles
from pgsync.compile.functions import TableNames
from pgsync.compile.tables import (
    MADE,
    Index,
    constraint_name,
    create_index,
    default_of,
    enum_check,
    indexes,
    is_not_null,
    qualified,
)
from pgsync.names import literal, quote
from pgsync.push.introspect import Column, Table
from pgsync.push.retype import Way, base_of
from pgsync.push.step import ACCESS_EXCLUSIVE, ACCESS_SHARE, ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, Stage, Step
from pgsync.schema.resolved import ResolvedField, ResolvedModel

_MARK = "[pgsync retype] "
_UNDO = "push the type of before"


@dataclass(frozen=True, slots=True)
class CopiedIndex:
    """An index of the column, built on its copy as `made`. `name` is quoted, the others are whole names."""

    name: str
    qualified: str
    beside: str
    comment: str
    made: Index


@dataclass(frozen=True, slots=True)
class Copy:
    """A column that changes its type. All but `field` and the names is SQL text, "" where there is nothing.

    `source`: what the column `column` is called until the transaction, which may rename it first. `beside`: its copy.
    `condition`: a row that has not been copied, which `missing` finds; `condition_now`: the same once it is renamed.
    `before`: what the column is
    called afterwards, where it stays because values may have lost something; `drops` are its indexes then. `otherwise`:
    what a value becomes that the new type does not take.
    """

    field: ResolvedField
    source_name: str
    beside_name: str
    source: str
    column: str
    beside: str
    type: str
    base: str
    drop_first: bool
    otherwise: str
    condition: str
    condition_now: str
    missing: str
    missing_name: str
    missing_literal: str
    before: str
    before_comment: str
    comment: str
    drops: tuple[str, ...]
    indexes: tuple[CopiedIndex, ...]
    check: str
    default: str
    constraint: str
    required: str


def beside_of(f: ResolvedField) -> str:
    """The column that takes the values of one that changes its type, until it takes its place."""
    return f"{f.column}_retyped"


def before_of(f: ResolvedField) -> str:
    """What the column of before is called afterwards, where it stays."""
    return f"{f.column}_before"


def missing_of(model: ResolvedModel, f: ResolvedField) -> str:
    """The index that finds rows which have not been copied."""
    return constraint_name(model, f"{f.column}_missing")


def is_beside(column: Column) -> bool:
    """Whether the column is a copy that a push has begun."""
    return (column.comment or "").startswith(_MARK)


def own_indexes(model: ResolvedModel, table: Table, f: ResolvedField) -> set[str]:
    """The indexes of the column that pgsync made, or that the schema asks for."""
    stems = [f.column, f"{model.tenant_column}_{f.column}", f"{f.column}_{model.tenant_column}"]
    made = {n for n, i in table.indexes.items() if i.comment is not None and i.comment.startswith(MADE)}
    made |= {index.name for index in indexes(model) if index.field == f.name}
    return {constraint_name(model, f"{stem}_{suffix}") for stem in stems for suffix in ("idx", "key")} & made


def make_copy(
    model: ResolvedModel,
    table: Table,
    f: ResolvedField,
    way: Way,
    otherwise: str,
    *,
    was: str,
    renamed: Mapping[str, str],
) -> Copy:
    """The change of a column of this table to the type that the field has.

    `was`: what the column is called now, `renamed`: what its indexes are called once it has its other name.
    """
    old = replace(f, column=was)
    column, beside = table.columns[was], quote(beside_of(old))
    there = table.columns.get(beside_of(old))
    missing = missing_of(model, old)
    return Copy(
        field=f,
        source_name=was,
        beside_name=beside_of(old),
        source=quote(was),
        column=quote(f.column),
        beside=beside,
        type=f.sql_type,
        base=base_of(f.sql_type),
        drop_first=there is not None and there.sql_type != f.sql_type,
        otherwise=otherwise,
        condition=f"t.{quote(was)} IS NOT NULL AND t.{beside} IS NULL",
        condition_now=f"t.{quote(f.column)} IS NOT NULL AND t.{beside} IS NULL",
        missing=qualified(model, missing),
        missing_name=missing,
        missing_literal=literal(qualified(model, missing)),
        before=quote(before_of(f)) if way is Way.LOSSY else "",
        before_comment=literal(f"{MADE}What {f.column} was as {column.sql_type}; nothing uses it any more."),
        comment=literal(column.comment) if column.comment is not None else "NULL",
        drops=tuple(
            qualified(model, renamed.get(n, n)) for n in sorted(own_indexes(model, table, old)) if n in table.indexes
        ),
        indexes=tuple(
            CopiedIndex(
                name=quote(index.name),
                qualified=qualified(model, index.name),
                beside=qualified(model, f"{index.name}_retyped"),
                comment=literal(f"{MADE}{index.why}"),
                made=replace(
                    index,
                    name=f"{index.name}_retyped",
                    columns=", ".join(beside if c == quote(f.column) else c for c in index.columns.split(", ")),
                ),
            )
            for index in indexes(model)
            if index.field == f.name
        ),
        check=(
            quote(constraint_name(model, f"{f.column}_check"))
            if constraint_name(model, f"{was}_check") in table.constraints
            else ""
        ),
        default=default_of(f),
        constraint=enum_check(model, f),
        required=quote(constraint_name(model, f"{f.column}_required")) if is_not_null(model, f) else "",
    )


def copy_steps(model: ResolvedModel, table: Table, copies: Sequence[Copy], policies: Sequence[str]) -> Iterator[Step]:
    """What leads to the columns of the new types, and puts them in their places. `policies` name one of the columns."""
    names = TableNames(model)
    values = {"key": model.key, "table": names.table, "function": _function(model), "columns": copies}

    def step(title: str, sql: str, lock: str, stage: Stage, *, reads: bool = False, risk: str = "", undo: str) -> Step:
        return Step(
            f"{model.key}: {title}",
            sql,
            lock=lock,
            tables=(names.table,),
            reads=reads,
            risk=risk,
            undo=undo,
            stage=stage,
            breaks=stage is Stage.TRANSACTION,
        )

    def build(name: str, whole: str, sql: str) -> Iterator[Step]:
        there = table.indexes.get(name)
        if there is not None and not there.valid:
            title = f"drop what an interrupted run left of index {name}"
            broken = sqlfiles.render("on_table/drop_broken_index.sql", index=whole)
            yield step(title, broken, SHARE_UPDATE_EXCLUSIVE, Stage.BEFORE, undo=_UNDO)
        if there is None or not there.valid:
            undo = f"DROP INDEX CONCURRENTLY {whole}"
            yield step(f"index {name}", sql, SHARE_UPDATE_EXCLUSIVE, Stage.BEFORE, reads=True, undo=undo)

    yield step(
        f"add {', '.join(c.beside_name for c in copies)} beside",
        sqlfiles.render("on_table/begin_copy.sql", **values),
        ACCESS_EXCLUSIVE,
        Stage.BEFORE,
        risk="every write of the table does a little more until the version is active",
        undo=_UNDO,
    )
    for c in copies:
        yield step(
            f"copy {c.source_name} to {c.beside_name}",
            sqlfiles.render(
                "push/backfill.sql",
                key=model.key,
                field=c.field.name,
                what="it has not been copied",
                table=names.table,
                table_literal=literal(names.table),
                column=c.source,
                value=f"t.{c.source}",
                condition=c.condition,
            ),
            ROW_EXCLUSIVE,
            Stage.BEFORE,
            reads=True,
            risk="the rows are written: logged, and streamed to those who see them",
            undo=_UNDO,
        )
        sql = sqlfiles.render(
            "on_table/copy_missing.sql", c=c, key=model.key, table=names.table, id=names.id, index=quote(c.missing_name)
        )
        yield from build(c.missing_name, c.missing, sql)
        sql = sqlfiles.render("on_table/check_copies.sql", c=c, table=names.table, id=names.id)
        title = f"every value of {c.source_name} is one of type {c.type}"
        yield step(title, sql, ACCESS_SHARE, Stage.BEFORE, reads=True, undo="nothing is done")
        for index in c.indexes:
            sql = create_index(model, index.made, concurrently=True)
            yield from build(index.made.name, index.beside, sql)
    risk = "the columns are the last ones of the table from now on"
    if stays := [c.before for c in copies if c.before]:
        risk += f"; values may have been rounded or cut off, those of before stay in {', '.join(stays)}"
    yield step(
        ", ".join(f"column {c.field.column} becomes {c.type}" for c in copies),
        sqlfiles.render("on_table/swap_copies.sql", policies=policies, **values),
        ACCESS_EXCLUSIVE,
        Stage.TRANSACTION,
        risk=risk,
        undo="push the type of before with --allow: the values are copied back",
    )


def end_step(model: ResolvedModel, left: Sequence[str], *, whole: bool) -> Step:
    """Takes out copies that were given up; `whole`: the trigger, too, because no other is under way."""
    names = TableNames(model)
    sql = sqlfiles.render(
        "on_table/end_copy.sql",
        key=model.key,
        table=names.table,
        function=_function(model) if whole else "",
        columns=[quote(name) for name in left],
    )
    return Step(
        f"{model.key}: give up the change of type of {', '.join(left)}",
        sql,
        lock=ACCESS_EXCLUSIVE,
        tables=(names.table,),
        undo="push that type again",
    )


def _function(model: ResolvedModel) -> str:
    return f"pgsync_generated.{model.name}_retype"
