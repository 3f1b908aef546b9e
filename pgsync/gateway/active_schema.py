"""The schema version that the gateway serves: the newest that any of its sources has seen active.

The stream learns of a new version at its place in the log, a notification a little earlier, a request that names an
unknown model asks the database itself: whoever pushes and then calls meets the new version.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson
import psycopg
from psycopg.pq.abc import PGresult

from pgsync import wire
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.gateway.query import ModelReader
from pgsync.models import EMPTY, ActiveSchema, Kind, Model, active_schema_from_json

_T = TypeVar("_T")
_GONE = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.FeatureNotSupported,  # "cached plan must not change result type": a column has another one
)
_SCHEMA = Statement(b"SELECT pgsync.schema_v1()", b"schema_v1")
_VERSION = Statement(b"SELECT pgsync.schema_v1() ->> 'version'::text", b"schema_v1_version")
_NAMESPACE = re.compile(r'((?:"(?:[^"]|"")*"|[^".])+)\.')


class ServedSchema:
    """Holds the active schema and what the gateway derives from it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers: dict[str, ModelReader] = {}
        self._loading = asyncio.Lock()
        self._changed: list[Callable[[], None]] = []
        self.current: ActiveSchema = EMPTY

    def on_changed(self, call: Callable[[], None]) -> None:
        """Has `call` called whenever another version is served."""
        self._changed.append(call)

    @property
    def edge_kinds(self) -> frozenset[str]:
        """The kinds of the sync groups that memberships can grant."""
        return frozenset(model.grants.kind for model in self.current.models if model.grants is not None)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where the operators of the fields' types are, besides Postgres's own, as SQL names them.

        In no other: an operator there that fits a type of Postgres better than Postgres's own would be run as the
        gateway. A domain over such a type may be elsewhere than the type, which is then where extensions usually are.
        """
        found = {
            match[1]
            for model in self.current.models
            for field in model.fields
            if field.kind is Kind.TEXT and field.enum_values is None and (match := _NAMESPACE.match(field.sql_type))
        }
        return tuple(sorted(found | {"public"})) if found else ()

    def offer(self, schema: ActiveSchema) -> None:
        """Takes a schema if it is newer than the one held."""
        if schema.version > self.current.version:
            self.current = schema
            self._readers = {}
            for call in self._changed:
                call()

    async def refresh(self) -> None:
        """Asks the database which version is active and loads it if it is new here."""
        async with self._loading:
            (result,) = await self._database.run([Call(_VERSION)])
            version = result.get_value(0, 0)
            if version is None or int(version) <= self.current.version:
                return
            (result,) = await self._database.run([Call(_SCHEMA)])
            text = result.get_value(0, 0)
            self.offer(active_schema_from_json(None if text is None else orjson.loads(text)))

    def ask_version(self) -> Call:
        """Which version is active in the snapshot of the statements that this one is run with; for `keep_up`."""
        return Call(_VERSION)

    async def keep_up(self, answer: PGresult) -> bool:
        """Whether rows read in that snapshot have to be read again, because they have a version that was not known."""
        version = answer.get_value(0, 0)
        if version is None or int(version) <= self.current.version:
            return False
        await self.refresh()
        return True

    async def outlive_push(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """What `attempt` gives; when a push came between, once more.

        A statement that waited while a push put another version in place goes on with the functions and columns of the
        one before. It has done nothing then, and the next attempt meets the new version.
        """
        version = self.current.version
        try:
            return await attempt()
        except _GONE:
            await self.refresh()
            if self.current.version == version:
                raise
            return await attempt()

    async def reader(self, name: str) -> ModelReader:
        """The reader of the model with this key, typename or table name. Raises unknown_model."""
        model = self.current.find(name)
        if model is None:
            await self.refresh()
            model = self.current.find(name)
        if model is None:
            now = self.current.renamed.get(name.lower())
            wire.refuse(
                "unknown_model",
                f"model {name!r} is called {now!r} now: load the schema again"
                if now is not None
                else f"no model {name!r} in the pushed schema: add it to your schema and run `pgsync push schema.py`",
                param="model",
                model=name,
            )
        return self.reader_of(model)

    def reader_of(self, model: Model) -> ModelReader:
        """The reader of a model of the current version."""
        reader = self._readers.get(model.key)
        if reader is None:
            reader = self._readers[model.key] = ModelReader(model, self.current.version)
        return reader

    def field_of(self, table: str | None, column: str) -> str:
        """The wire name of a column that a database error names; the column itself when no model knows it."""
        for model in self.current.models:
            if model.table == table and (field := model.field_of_column(column)) is not None:
                return field.name
        return column
