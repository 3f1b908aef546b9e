"""Reads of rows: one by its id, and lists by typed equality."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import psycopg

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.gateway.query import ModelReader, Page, check_id
from pgsync.gateway.snapshot import Reading, read, stamp, widen
from pgsync.stream.feed import Feed

CATCH_UP_SECONDS: Final = 0.02

_CLAIMS: Final = Statement(b"SELECT pgsync.row_claims_v1($1::text, $2::text)", b"row_claims_v1")


class Models:
    """Answers reads (contract 1.6) from the database, as its row security shows it to the caller."""

    def __init__(self, database: Database, schema: ServedSchema, feed: Feed) -> None:
        self._database = database
        self._schema = schema
        self._feed = feed

    async def get(self, credential: Credential, model: str, row_id: str) -> tuple[bytes, int]:
        """One row and its stamp; a missing one, and one of another tenant, is `data: null`."""
        return await self._schema.outlive_push(lambda: self._get(credential, model, row_id))

    async def _get(self, credential: Credential, model: str, row_id: str) -> tuple[bytes, int]:
        reader = await self._schema.reader(model)
        row = reader.one(check_id(reader.model, row_id))
        held = Call(_CLAIMS, (model.encode(), row_id.encode()))
        deadline = 0.0
        while True:
            reading = await read(self._database, credential, [row, held], require=[reader.model])
            result, holders = reading.results
            claims = holders.get_value(0, 0) or b"[]"
            position = stamp(self._feed, reading.snapshot)
            if not result.ntuples:
                return wire.row(model=model, row_id=row_id, data=None, stamp=position, claims=claims), position
            timeline = self._feed.timeline
            writer = widen(reader.writer(result, 0), reading.snapshot)
            if timeline.evidence(position).covers(writer):
                break
            # The row is ahead of its stamp, so a write that relies on this read would be refused for nothing.
            now = time.monotonic()
            deadline = deadline or now + CATCH_UP_SECONDS
            if now >= deadline:
                break
            await asyncio.sleep(CATCH_UP_SECONDS / 10)
        data = reader.row_bytes(result, 0)
        return wire.row(model=model, row_id=row_id, data=data, stamp=position, claims=claims), position

    async def list(self, credential: Credential, model: str, parameters: Sequence[tuple[str, str]]) -> bytes:
        """A page of rows."""

        async def attempt() -> tuple[ModelReader, Page, Reading]:
            reader = await self._schema.reader(model)
            page = reader.page(parameters)
            return reader, page, await read(self._database, credential, [page.call], require=[reader.model])

        try:
            reader, page, reading = await self._schema.outlive_push(attempt)
        except psycopg.DataError as error:
            raise PgsyncError("model_query_failed", "a filter's value does not fit its field") from error
        except psycopg.errors.UndefinedFunction as error:
            raise PgsyncError("model_query_failed", "a field's type has no such comparison") from error
        (result,) = reading.results
        count = min(result.ntuples, page.limit)
        return wire.rows(
            model=model,
            data=[reader.row_bytes(result, index) for index in range(count)],
            ids=[reader.row_id(result, index) for index in range(count)],
            next_cursor=reader.cursor_after(result, count - 1, page) if result.ntuples > count else None,
            stamp=stamp(self._feed, reading.snapshot),
        )
