"""`GET /v1/logs` (contract 1.12): what happened to rows and to claims, in pages that never skip or repeat.

An event of a row carries no `delta`: the change log keeps which fields changed, not what was in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from heapq import merge
from typing import Any, Final

import orjson
import psycopg
from aiohttp import web

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.gateway.handler import Handler, Segments
from pgsync.stream.feed import Feed

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
STORED_SECONDS: Final = 1.0  # for what was streamed before to be found
OPERATIONS: Final[Mapping[str, str]] = {
    "create": "{I}",
    "update": "{U}",
    "delete": "{D,T}",
    "archive": "{}",
    "revive": "{}",
    "visible": "{}",
    "group_added": "{}",
    "group_removed": "{}",
}
"""The contract's operations and the letters of the change log that they mean; the last five happen to no row here."""

_LOGS = Statement(
    b"SELECT pgsync.logs_v1($1::jsonb, $2::bigint, $3::bigint, $4::text, $5::text[], $6::timestamptz, $7::integer)",
    b"logs_v1",
)
_CURSOR = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?\Z")


class Logs:
    """The log of changes and the log of claims as one list."""

    def __init__(self, database: Database, schema: ServedSchema, feed: Feed) -> None:
        self._database = database
        self._schema = schema
        self._feed = feed

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """One."""
        yield "/api/v1/logs", {"GET": self._list}

    async def _list(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        query = dict(request.rel_url.query.items())
        after, claims_after = _cursor(query.get("after"))
        limit = _limit(query.get("limit"))
        since = _since(query.get("since"))
        op = query.get("op") or None
        if op is not None and op not in OPERATIONS:
            wire.refuse("invalid_request", f"op is one of {', '.join(OPERATIONS)}", param="op")
        model = query.get("model") or None
        if model is not None:
            await self._schema.reader(model)
        parameters = (
            credential.identity_json,
            None if after is None else b"%d" % after,
            None if claims_after is None else b"%d" % claims_after,
            None if model is None else model.encode(),
            None if op is None else OPERATIONS[op].encode(),
            since,
            b"%d" % limit,
        )
        await self._feed.stored(STORED_SECONDS)
        try:
            (result,) = await self._database.run([Call(_LOGS, parameters)])
        except psycopg.errors.DatetimeFieldOverflow as error:
            raise PgsyncError("invalid_request", "since is beyond what the database can tell", param="since") from error
        answer = orjson.loads(result.get_value(0, 0) or b"null")
        log, claims = answer["log"], answer["claims"]
        return orjson.dumps(
            {
                "object": "list",
                "data": list(merge(log["events"], claims["events"], key=_moment)),
                "has_more": log["more"] or claims["more"],
                "next_cursor": f"{log['last']}.{claims['last']}",
            }
        )


def _moment(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def _cursor(text: str | None) -> tuple[int | None, int | None]:
    """The sync id and the number of the claim event that were seen last; None where the newest are asked for."""
    if not text:
        return None, None
    found = _CURSOR.match(text)
    if found is None or not text.isascii():
        wire.refuse("invalid_request", "a cursor is <log> or <log>.<claims>, as next_cursor gives it", param="after")
    return int(found[1]), None if found[2] is None else int(found[2])


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        wire.refuse("invalid_request", f"limit is a number from 1 to {MAX_LIMIT}", param="limit")
    return int(text)


def _since(text: str | None) -> bytes | None:
    """A moment: ISO 8601, milliseconds since 1970, or as long ago as `15m`, `2h`, `7d`."""
    if not text:
        return None
    try:
        if text.isascii() and text.isdigit():
            moment = datetime.fromtimestamp(int(text) / 1000, UTC)
        elif (ago := re.fullmatch(r"([0-9]{1,6})([smhd])", text, re.ASCII)) is not None:
            unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[ago[2]]
            moment = datetime.now(UTC) - timedelta(**{unit: int(ago[1])})
        else:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise PgsyncError(
            "invalid_request", "since is an ISO 8601 time, or as long ago as 15m", param="since"
        ) from error
    return moment.isoformat().encode()
