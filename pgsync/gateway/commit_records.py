"""Commit records (contract 1.11): what was committed by whom under which premises, without the values.

The record is strict: a key too many makes the contract's client refuse it whole.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson
from aiohttp import web

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.gateway.handler import Handler, Segments
from pgsync.gateway.premises import Premises
from pgsync.stream.feed import Feed

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 50
STATUSES: Final = ("queued", "confirmed", "rejected")

_ONE = Statement(b"SELECT pgsync.commit_record_v1($1::jsonb, $2::text)", b"commit_record_v1")
_LIST = Statement(
    b"SELECT pgsync.commit_records_v1($1::jsonb, $2::text, $3::timestamptz, $4::text, $5::integer)",
    b"commit_records_v1",
)
_SERVER_TX_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,10}\Z")
_TRANSPORTS: Final = {"websocket": "websocket"}


class CommitRecords:
    """`GET /v1/commits` and `GET /v1/commits/{id}`."""

    def __init__(self, database: Database, feed: Feed, premises: Premises) -> None:
        self._database = database
        self._feed = feed
        self._premises = premises

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """Beside the `POST` of the first."""
        yield "/api/v1/commits", {"GET": self._list}
        yield "/api/v1/commits/", {"GET": self._get}

    async def _get(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        """The record of a commit by its idempotency key, null when there is none."""
        try:
            key = unquote_to_bytes(segments[3]).decode()
        except UnicodeDecodeError:
            return b"null"
        if "\0" in key:
            return b"null"
        (result,) = await self._database.run([Call(_ONE, (credential.identity_json, key.encode()))])
        found = orjson.loads(result.get_value(0, 0) or b"null")
        return b"null" if found is None else orjson.dumps(await self._record(found))

    async def _list(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        query = dict(request.rel_url.query.items())
        limit = _limit(query.get("limit"))
        status = query.get("status")
        if status is not None and status not in STATUSES:
            wire.refuse("invalid_request", f"status is one of {', '.join(STATUSES)}", param="status")
        actor = query.get("actorId")
        if actor is not None and not actor.isprintable():
            wire.refuse("invalid_request", "not the id of a participant", param="actorId")
        before, before_id = _cursor(query["cursor"]) if query.get("cursor") else (None, None)
        if status == "rejected":  # what was refused has left no trace
            return b'{"data":[],"nextCursor":null}'
        parameters = (
            credential.identity_json,
            None if actor is None else actor.encode(),
            before,
            before_id,
            b"%d" % limit,
        )
        (result,) = await self._database.run([Call(_LIST, parameters)])
        answer = orjson.loads(result.get_value(0, 0) or b"null")
        records = [await self._record(found) for found in answer["records"]]
        following = answer["next"]
        return orjson.dumps(
            {
                "data": [record for record in records if status is None or record["status"] == status],
                "nextCursor": None if following is None else _encode(following["at"], following["id"]),
            }
        )

    async def _record(self, found: Mapping[str, Any]) -> dict[str, Any]:
        last_sync_id = found["lastSyncId"]
        if last_sync_id is None:  # too young to be stored, but perhaps streamed
            last_sync_id = await self._feed.confirmed(found["serverTxId"], 0)
        record: dict[str, Any] = {
            "id": found["key"],
            "attempts": _attempts(found),
            "actor": found["actor"],
            "authority": {
                "organizationId": found["organizationId"],
                "projectId": "default",
                "branchId": "main",
                "syncGroups": found["syncGroups"],
                "operations": found["grants"],
                "participantKind": found["actor"]["kind"],
                "participantId": found["actor"]["id"],
                "deliveryPartition": None,
            },
            "claims": found["claims"],
            "createdAt": found["createdAt"],
            "status": "queued" if last_sync_id is None else "confirmed",
            "statusAt": found["createdAt"],
            "lastSyncId": last_sync_id or 0,
            "readSet": [_premise(premise, last_sync_id or 0) for premise in found["readSet"]],
            "operations": [operation | {"data": {"retention": "redacted"}} for operation in found["operations"]],
            "receipt": {"clientTxId": found["key"], "serverTxId": found["serverTxId"], "ops": found["ops"]},
        }
        if last_sync_id is None or last_sync_id > 0:
            record["correlationId"] = found["serverTxId"]
        if found["notifications"]:
            told = await self._premises.settle_notifications(
                found["notifications"], unknown=last_sync_id, wait_seconds=0
            )
            record["receipt"]["notifications"] = told
        if found["missingIds"]:
            record["receipt"]["missingIds"] = found["missingIds"]
        return record


def _attempts(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The commit itself, and when it was asked for again: the same way, since another way is another request."""
    transport = _TRANSPORTS.get(found["route"] or "", "http")
    return [
        {
            "id": found["key"] if number == 0 else f"{found['key']}#{number}",
            "observedAt": at,
            "transport": transport,
            "kind": "replay" if number else "execution",
        }
        for number, at in enumerate([found["createdAt"], *found["replayedAt"]])
    ]


def _premise(stored: Mapping[str, Any], last_sync_id: int) -> dict[str, Any]:
    """A premise as a record has it; one that said no position began with the commit itself."""
    target: dict[str, Any]
    if "group" in stored:
        target = {"scope": "group", "group": stored["group"]}
    else:
        target = {"scope": "row", "model": stored["modelKey"], "id": stored["id"]}
        if "fields" in stored:
            target["fields"] = stored["fields"]
    return {
        "target": target,
        "watermark": stored.get("readAt", last_sync_id),
        "lifetime": stored["lifetime"],
        "onStale": stored["onStale"],
    }


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        wire.refuse("invalid_request", f"limit is a number from 1 to {MAX_LIMIT}", param="limit")
    return int(text)


def _encode(at: str, server_tx_id: str) -> str:
    return base64.urlsafe_b64encode(f"{at} {server_tx_id}".encode()).rstrip(b"=").decode()


def _cursor(text: str) -> tuple[bytes, bytes]:
    try:
        at, _, server_tx_id = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode().partition(" ")
        datetime.fromisoformat(at)
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise PgsyncError("invalid_request", "not a cursor of this list", param="cursor") from error
    if _SERVER_TX_ID.match(server_tx_id) is None:
        wire.refuse("invalid_request", "not a cursor of this list", param="cursor")
    return at.encode(), server_tx_id.encode()
