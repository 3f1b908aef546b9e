"""SELECT statements composed from a model's description: one row, a page of a list, a page of a bootstrap.

Row-level security decides what they may see; here are only columns, filters by typed equality and the place where a
page begins.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from psycopg import sql
from psycopg.pq.abc import PGresult

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway import condition
from pgsync.gateway.condition import place
from pgsync.gateway.connection import Call, Statement
from pgsync.models import Field, Model
from pgsync.values import RowEncoder, row_encoder

MAX_LIMIT: Final = 5000
DEFAULT_LIMIT: Final = 1000
"""The contract's client never follows a cursor, so a list without a limit should rarely need one."""

_RESERVED: Final = frozenset({"limit", "order_by", "order", "starting_after"})


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: the call that fetches one row more than `limit`, and how its last row becomes a cursor."""

    call: Call
    limit: int
    order_by: Field
    descending: bool


class ModelReader:
    """The statements of one model of one schema version, and the way from their results to JSON."""

    def __init__(self, model: Model, version: int) -> None:
        self.model = model
        self._encode: RowEncoder = row_encoder(model)
        columns = [f.column for f in model.fields]
        self._id_index = columns.index(model.id_column)
        self._index = {column: index for index, column in enumerate(columns)}
        table = sql.Identifier(model.namespace, model.table)
        selected = sql.SQL(", ").join(map(sql.Identifier, columns))
        # Conditions follow. The guard is asked once: only row security keeps the rows of other organizations out.
        source = sql.SQL("FROM {} WHERE (SELECT pgsync.require_guard_v1({}::pg_catalog.regclass))").format(
            table, sql.Literal(table.as_string(None))
        )
        self._select = sql.SQL("SELECT {} {}").format(selected, source)
        self._name = f"v{version}_{model.name}"
        self._id = sql.Identifier(model.id_column)
        # with the last writer, by which a read can tell whether the stream has come as far as the row
        one = sql.SQL("SELECT {}, xmin {} AND {} = $1").format(selected, source, self._id)
        self._one = self._prepared("one", one)
        self._first_page = self._prepared("first", sql.SQL("{} ORDER BY {} LIMIT $1").format(self._select, self._id))
        self._next_page = self._prepared(
            "next", sql.SQL("{} AND {} > $2 ORDER BY {} LIMIT $1").format(self._select, self._id, self._id)
        )

    def _prepared(self, what: str, query: sql.Composable) -> Statement:
        return Statement(query.as_bytes(None), f"{self._name}_{what}".encode())

    def _where(self, conditions: Sequence[sql.Composable]) -> sql.Composable:
        return sql.SQL(" AND ").join([self._select, *conditions])

    def one(self, row_id: str) -> Call:
        """The row with this id, and behind its columns its `writer`."""
        return Call(self._one, (row_id.encode(),))

    def page_by_id(self, limit: int, after: str | None) -> Call:
        """Rows in the order of their ids, beginning after one."""
        if after is None:
            return Call(self._first_page, (b"%d" % limit,))
        return Call(self._next_page, (b"%d" % limit, after.encode()))

    def page(self, parameters: Sequence[tuple[str, str]], terms: Sequence[condition.Term] = ()) -> Page:
        """A page of a list, from the query string (contract 1.6); `terms` hold besides.

        Raises model_query_failed, query_invalid_boolean, query_invalid_identifier with the parameter that is wrong.
        """
        options: dict[str, str] = {}
        values: list[bytes] = [b""]
        conditions: list[sql.Composable] = []
        for name, value in parameters:
            if name in _RESERVED:
                options[name] = value
            elif name == "where":
                conditions += condition.where(self.model, value, values)
            else:
                conditions.append(condition.equality(self.model, name, value, values))
        conditions += [condition.to_sql(term, values) for term in terms]
        limit = _limit(options.get("limit"))
        order_by = self._order_by(options.get("order_by"))
        order = options.get("order", "asc")
        if order not in ("asc", "desc"):
            wire.refuse("model_query_failed", "order is asc or desc", param="order")
        descending = order == "desc"
        after = options.get("starting_after")

        if not conditions and order_by.column == self.model.id_column and not descending:
            last = None if after is None else self._cursor(after, order_by, descending)[1]
            return Page(self.page_by_id(limit + 1, last), limit, order_by, descending)

        values[0] = b"%d" % (limit + 1)
        if after is not None:
            conditions.append(self._after(self._cursor(after, order_by, descending), order_by, descending, values))
        direction = sql.SQL(" DESC" if descending else "")
        ordering = sql.Identifier(order_by.column) + direction
        if order_by.column != self.model.id_column:
            ordering = ordering + sql.SQL(", ") + self._id + direction
        query = sql.SQL("{} ORDER BY {} LIMIT $1").format(self._where(conditions), ordering)
        return Page(Call(Statement(query.as_bytes(None)), tuple(values)), limit, order_by, descending)

    def scan(self, name: str, terms: Sequence[condition.Term]) -> Call:
        """Opens a cursor on all rows of which these tuples are true, in no particular order."""
        values: list[bytes] = []
        conditions = [condition.to_sql(term, values) for term in terms]
        query = sql.SQL("DECLARE {} NO SCROLL CURSOR FOR {}").format(sql.Identifier(name), self._where(conditions))
        return Call(Statement(query.as_bytes(None)), tuple(values))

    def among(self, term: condition.Term, limit: int) -> Call:
        """Rows of which one tuple is true, in the order of their ids."""
        values = [b"%d" % limit]
        where = self._where([condition.to_sql(term, values)])
        query = sql.SQL("{} ORDER BY {} LIMIT $1").format(where, self._id)
        return Call(Statement(query.as_bytes(None)), tuple(values))

    def in_groups(self, groups: frozenset[str], limit: int) -> Call | None:
        """Rows of these sync groups, one more than `limit` at most; None when the model has none of their kinds."""
        conditions: list[sql.Composable] = []
        values: list[bytes] = [b"%d" % (limit + 1)]
        for group in self.model.groups:
            field = self.model.field_of_column(group.column)
            if field is None:
                continue
            ids = [name.partition(":")[2] for name in groups if name.partition(":")[0] == group.kind]
            ids = sorted(text for text in ids if condition.can_hold(field, text))
            if ids:
                values.append(orjson.dumps(ids))
                conditions.append(
                    sql.SQL("{} = ANY (ARRAY(SELECT pg_catalog.jsonb_array_elements_text({}::jsonb))::{}[])").format(
                        sql.Identifier(group.column), place(len(values)), sql.SQL(field.sql_type)
                    )
                )
        if not conditions:
            return None
        query = sql.SQL("{} AND ({}) LIMIT $1").format(self._select, sql.SQL(" OR ").join(conditions))
        return Call(Statement(query.as_bytes(None)), tuple(values))

    def groups(self, result: PGresult, index: int) -> tuple[str, ...]:
        """The sync groups of one row of a result, of a model that declares some."""
        found = ((group.kind, result.get_value(index, self._index[group.column])) for group in self.model.groups)
        return tuple(f"{kind}:{value.decode()}" for kind, value in found if value is not None)

    def text(self, result: PGresult, index: int, field: Field) -> str | None:
        """One field of a row of a result as text."""
        value = result.get_value(index, self._index[field.column])
        return None if value is None else value.decode()

    def texts(self, result: PGresult, index: int) -> dict[str, str | None]:
        """One row of a result as the text of each column."""
        values = ((column, result.get_value(index, at)) for column, at in self._index.items())
        return {column: None if value is None else value.decode() for column, value in values}

    def first(self, limit: int, order: str) -> Call:
        """So many rows, the first in an order such as `createdAt` or `-createdAt`. Raises query_invalid_identifier."""
        direction = "desc" if order.startswith("-") else "asc"
        name = order.removeprefix("-") or self.model.id_field.name
        return self.page([("limit", str(limit)), ("order_by", name), ("order", direction)]).call

    def row_bytes(self, result: PGresult, index: int) -> bytes:
        """One row of a result as JSON."""
        return self._encode([result.get_value(index, column) for column in range(result.nfields)])

    def writer(self, result: PGresult, index: int) -> int:
        """The last writer of a row that `one` fetched: the 32 bits of a transaction's id that a row keeps."""
        value = result.get_value(index, result.nfields - 1)
        assert value is not None
        return int(value)

    def row_id(self, result: PGresult, index: int) -> str:
        """The id of one row of a result."""
        value = result.get_value(index, self._id_index)
        assert value is not None
        return value.decode()

    def cursor_after(self, result: PGresult, index: int, page: Page) -> str:
        """The `next_cursor` that begins after one row of the result."""
        value = result.get_value(index, self._index[page.order_by.column])
        text = None if value is None else value.decode()
        order = f"{'-' if page.descending else ''}{page.order_by.name}"
        packed = orjson.dumps([order, text, self.row_id(result, index)])
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    def _cursor(self, text: str, order_by: Field, descending: bool) -> tuple[str | None, str]:
        try:
            packed: Any = orjson.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
        except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError):
            packed = None
        order = f"{'-' if descending else ''}{order_by.name}"
        match packed:
            case [str(given), str() | None as value, str(row_id)] if given == order and "\0" not in f"{value}{row_id}":
                return value, row_id
        raise PgsyncError("model_query_failed", "not a cursor of this list in this order", param="starting_after")

    def _after(
        self, cursor: tuple[str | None, str], order_by: Field, descending: bool, values: list[bytes]
    ) -> sql.Composable:
        """The rows behind the cursor. Postgres sorts nulls as if they were larger than every value."""
        value, row_id = cursor
        column, comparison = sql.Identifier(order_by.column), sql.SQL("<" if descending else ">")
        values.append(row_id.encode())
        id_place = place(len(values))
        if order_by.column == self.model.id_column:
            return sql.SQL("{} {} {}").format(column, comparison, id_place)
        later_id = sql.SQL("{} {} {}").format(self._id, comparison, id_place)
        if value is None:
            tied = sql.SQL("({} IS NULL AND {})").format(column, later_id)
            return sql.SQL("({} OR {} IS NOT NULL)").format(tied, column) if descending else tied
        values.append(value.encode())
        behind = sql.SQL("({}, {}) {} ({}, {})").format(column, self._id, comparison, place(len(values)), id_place)
        if descending or order_by.required:
            return behind
        return sql.SQL("({} OR {} IS NULL)").format(behind, column)

    def _order_by(self, name: str | None) -> Field:
        if name is None:
            return self.model.id_field
        field = self.model.field(name)
        if field is None:
            wire.refuse("query_invalid_identifier", f"model {self.model.key} has no field {name!r}", param="order_by")
        if field.array or field.kind in condition.UNCOMPARABLE:
            wire.refuse("model_query_failed", f"a list cannot be ordered by {name}", param="order_by")
        return field


def check_id(model: Model, row_id: str) -> str:
    """A row id that this model can have. Raises invalid_id."""
    wire.check_row_id(row_id)
    if not condition.can_hold(model.id_field, row_id):
        kind = model.id_field.kind.value
        wire.refuse("invalid_id", f"an id of {model.key} is of type {kind}", param="id")
    return row_id


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        wire.refuse("model_query_failed", f"limit is a number from 1 to {MAX_LIMIT}", param="limit")
    return int(text)
