"""`POST /sync/query` and `GET /sync/entity`: reads of the reactive client (contract 2.2), several in one snapshot.

What is wrong with one query fails that query only; `errors` says which and why. Related rows lie in the row under the
relation's name: an object or null for one, an array for many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson
import psycopg
from aiohttp import web
from psycopg.pq.abc import PGresult

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway import condition
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Exchange
from pgsync.gateway.database import Database
from pgsync.gateway.handler import Answer, Handler, Segments
from pgsync.gateway.query import ModelReader, check_id
from pgsync.gateway.snapshot import BEGIN_READ, COMMIT, identify, read, snapshot_of, stamp
from pgsync.models import Field
from pgsync.stream.feed import Feed

MAX_QUERIES: Final = 50
MAX_RELATED: Final = 20
MAX_RELATED_ROWS: Final = 20_000
_KEYS: Final = frozenset({"model", "where", "related", "limit", "orderBy", "order"})


@dataclass(frozen=True, slots=True)
class Relation:
    """Where the rows of a relation are: those of `reader` whose `theirs` is `ours` of the row."""

    name: str
    reader: ModelReader
    ours: Field
    theirs: Field
    many: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One checked query."""

    reader: ModelReader
    parameters: list[tuple[str, str]]
    terms: list[condition.Term]
    related: list[Relation]


class SyncReads:
    """Answers the reads of the reactive client."""

    def __init__(self, database: Database, schema: ServedSchema, feed: Feed) -> None:
        self._database = database
        self._schema = schema
        self._feed = feed

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """Both routes."""
        yield "/api/sync/query", {"POST": self._query}
        yield "/api/sync/entity//", {"GET": self._entity}

    async def _entity(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        """The row itself. Raises entity_not_found, unknown_model, invalid_id."""
        model, row_id = (_decode(segment) for segment in segments[3:5])
        reader = await self._schema.reader(model)
        call = reader.one(check_id(reader.model, row_id))
        reading = await read(self._database, credential, [call], require=[reader.model])
        (result,) = reading.results
        if not result.ntuples:
            wire.refuse("entity_not_found", f"there is no such row of {model}", param="id")
        return Answer(reader.row_bytes(result, 0), headers={"ETag": wire.etag(stamp(self._feed, reading.snapshot))})

    async def _query(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        raw = await request.read()
        body = wire.parse_json(raw)
        wire.check_text(raw, body)
        body = condition.parse(raw.decode(), "body")  # numbers as they are spelled
        asked = body.get("queries") if isinstance(body, dict) else None
        if not isinstance(asked, list) or not asked:
            wire.refuse("queries_required", "queries is an array of at least one query", param="queries")
        if len(asked) > MAX_QUERIES:
            wire.refuse("invalid_body", f"there are at most {MAX_QUERIES} queries", param="queries")
        errors: list[dict[str, Any]] = []
        checked: list[Query | None] = []
        for index, one in enumerate(asked):
            try:
                checked.append(await self._check(credential, one, f"queries[{index}]"))
            except PgsyncError as error:
                checked.append(None)
                said = {"index": index, "code": error.code, "message": error.message}
                errors.append(said if error.param is None else said | {"param": error.param})
        async with self._database.hold(organization=credential.organization_id) as connection:
            (_, identity) = await connection.run([BEGIN_READ, identify(credential)])
            position = stamp(self._feed, snapshot_of(identity))
            results = [[] if one is None else await _rows(connection, one) for one in checked]
            await connection.run([COMMIT])
        ending = b',"stamp":%d}' % position
        return b"".join(
            (
                b'{"results":[',
                b",".join(b"[" + b",".join(row for _, row in rows) + b"]" for rows in results),
                b'],"evidence":[',
                b",".join(
                    b"[" + b",".join(b'{"id":' + orjson.dumps(row_id) + ending for row_id, _ in rows) + b"]"
                    for rows in results
                ),
                b"]",
                b',"errors":' + orjson.dumps(errors) if errors else b"",
                b',"lastSyncId":%d}' % position,
            )
        )

    async def _check(self, credential: Credential, one: Any, place: str) -> Query:
        if not isinstance(one, dict) or not isinstance(one.get("model"), str) or type(one["model"]) is not str:
            wire.refuse("invalid_body", "a query is an object with a model", param=place)
        unknown = one.keys() - _KEYS
        if unknown:
            wire.refuse("invalid_body", f"a query has no {min(unknown)[:100]!r}", param=place)
        reader = await self._schema.reader(one["model"])
        _require(credential, reader, place)
        terms: list[condition.Term] = []
        if one.get("where") is not None:
            terms = condition.terms_of(reader.model, one["where"], f"{place}.where")
        parameters = []
        for key, name in (("limit", "limit"), ("orderBy", "order_by"), ("order", "order")):
            value = one.get(key)
            if value is None:
                continue
            if not isinstance(value, str):
                wire.refuse("invalid_body", f"{key} is not what a list takes", param=f"{place}.{key}")
            parameters.append((name, str(value)))
        names = one.get("related") or []
        if not isinstance(names, list) or len(names) > MAX_RELATED or not all(type(name) is str for name in names):
            wire.refuse("invalid_body", f"related names at most {MAX_RELATED} relations", param=f"{place}.related")
        related = [self._relation(credential, reader, name, f"{place}.related") for name in dict.fromkeys(names)]
        reader.page(parameters, terms)  # so that what is wrong with it is this query's own
        return Query(reader, parameters, terms, related)

    def _relation(self, credential: Credential, reader: ModelReader, name: str, place: str) -> Relation:
        schema = self._schema.current
        declared = schema.document.get("models", {}).get(reader.model.key, {}).get("relations", {}).get(name)
        if not isinstance(declared, dict):
            wire.refuse("query_unknown_relation", f"{reader.model.key} has no relation {name[:100]!r}", param=place)
        target = schema.find(str(declared.get("target")))
        if target is None:
            raise PgsyncError("query_relation_target_unknown", f"the target of {name} is no model", param=place)
        theirs = self._schema.reader_of(target)
        _require(credential, theirs, place)
        is_ours = declared.get("type") == "belongsTo"
        key = (reader.model if is_ours else target).field(str(declared.get("foreignKey")))
        if key is None:
            raise PgsyncError("query_relation_target_unknown", f"the foreign key of {name} is no field", param=place)
        if is_ours:
            return Relation(name, theirs, key, target.id_field, many=False)
        return Relation(name, theirs, reader.model.id_field, key, many=declared.get("type") == "hasMany")


async def _rows(connection: Exchange, query: Query) -> list[tuple[str, bytes]]:
    """Id and JSON of each row, with what is related in it."""
    page = query.reader.page(query.parameters, query.terms)
    try:
        (result,) = await connection.run([page.call])
    except (psycopg.DataError, psycopg.errors.UndefinedFunction) as error:
        raise PgsyncError("model_query_failed", "a filter's value does not fit its field") from error
    count = min(result.ntuples, page.limit)
    rows = [query.reader.row_bytes(result, index) for index in range(count)]
    for relation in query.related:
        found = await _related(connection, query.reader, relation, result, count)
        name = b"," + orjson.dumps(relation.name) + b":"
        for index, row in enumerate(rows):
            value = query.reader.text(result, index, relation.ours)
            matching = [] if value is None else found.get(value, [])
            one = matching[0] if matching else b"null"
            rows[index] = row[:-1] + name + (b"[" + b",".join(matching) + b"]" if relation.many else one) + b"}"
    return [(query.reader.row_id(result, index), rows[index]) for index in range(count)]


async def _related(
    connection: Exchange, reader: ModelReader, relation: Relation, result: PGresult, count: int
) -> dict[str, list[bytes]]:
    """The rows of a relation by the value that they are found by."""
    values = dict.fromkeys(
        value for index in range(count) if (value := reader.text(result, index, relation.ours)) is not None
    )
    if not values:
        return {}
    term = condition.Term(relation.theirs, "IN", tuple(values), relation.name)
    (found,) = await connection.run([relation.reader.among(term, MAX_RELATED_ROWS + 1)])
    if found.ntuples > MAX_RELATED_ROWS:
        raise PgsyncError("model_query_failed", f"{relation.name} has more than {MAX_RELATED_ROWS} rows: ask for fewer")
    rows: dict[str, list[bytes]] = {}
    for index in range(found.ntuples):
        key = relation.reader.text(found, index, relation.theirs)
        assert key is not None
        rows.setdefault(key, []).append(relation.reader.row_bytes(found, index))
    return rows


def _require(credential: Credential, reader: ModelReader, place: str) -> None:
    scope = reader.model.typename.lower()
    if credential.readable is not None and scope not in credential.readable:
        raise PgsyncError(
            "capability_scope_denied",
            f"this credential may not read {reader.model.key}",
            param=place,
            details={"requiredCapability": {"scope": f"{scope}.read"}},
        )


def _decode(segment: str) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise PgsyncError("invalid_id", "the path is not UTF-8", param="id") from error
