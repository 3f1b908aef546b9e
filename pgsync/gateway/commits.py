"""Writes: from the bytes of a request to one SQL call, and from its outcome to a receipt that the log has confirmed."""

from __future__ import annotations

import uuid
from typing import Any, Final

import orjson
import psycopg

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.commit_queue import CommitQueue, QueueFullError, RowCommit
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.gateway.metrics import CommitMeasures
from pgsync.gateway.premises import Premises
from pgsync.gateway.query import check_id
from pgsync.log import Event, emit
from pgsync.models import Kind
from pgsync.stream.feed import Feed

CONFIRM_SECONDS: Final = 5.0

# Each operand has its type, so that only Postgres's own operator fits: this session's search_path is what deferred
# triggers of the application need.
_COMMIT = Statement(
    b'SELECT pgsync.commit_v1($1::jsonb, $2::text, $3::jsonb || \'{"route": "commits"}\'::jsonb, $4::jsonb)',
    b"commit_v1",
)
_COMMIT_FRAME = Statement(
    b"SELECT pgsync.commit_v1($1::jsonb, $2::text,"
    b" (($3::jsonb -> 'payload'::text) - 'clientTxId'::text) || '{\"route\": \"websocket\"}'::jsonb, $4::jsonb)",
    b"commit_v1_frame",
)
_DIAGNOSE = Statement(b"SELECT pgsync.diagnose_v1($1::text, $2::jsonb #> $3::text[])", b"diagnose_v1")


class Committer:
    """Sends writes to the database and answers with receipts.

    A receipt is `confirmed` when the commit has been seen in the log within `confirm_seconds`; the write is committed
    also when it is not, and the receipt then says `queued`.
    """

    def __init__(
        self,
        database: Database,
        queue: CommitQueue,
        schema: ServedSchema,
        feed: Feed,
        *,
        confirm_seconds: float = CONFIRM_SECONDS,
        measures: CommitMeasures,
    ) -> None:
        self._measures = measures
        self._database = database
        self._queue = queue
        self._schema = schema
        self._feed = feed
        self._confirm_seconds = confirm_seconds
        self._premises = Premises(database, schema, feed)

    async def write_row(
        self,
        credential: Credential,
        *,
        action: str,
        model: str,
        row_id: str | None,
        raw: bytes,
        key_header: str | None,
        if_match: str | None = None,
    ) -> tuple[bytes, str | None]:
        """POST, PATCH and DELETE on a model (contract 1.7): the receipt, and the id of a row that was made without one.

        `if_match` is the header of that name: the ETag of the read that the write depends on.
        """
        writing = self._write_row(
            credential, action=action, model=model, row_id=row_id, raw=raw, key_header=key_header, if_match=if_match
        )
        return await self._measures.measure(writing)

    async def _write_row(
        self,
        credential: Credential,
        *,
        action: str,
        model: str,
        row_id: str | None,
        raw: bytes,
        key_header: str | None,
        if_match: str | None,
    ) -> tuple[bytes, str | None]:
        body = wire.parse_write(raw, read_at=wire.if_match(if_match))
        key, is_callers = wire.idempotency_key(key_header, body.idempotency_key)
        chosen: str | None = None
        if row_id is None:
            row_id = body.row_id
            if row_id is None:
                row_id = chosen = self._choose_id(model, key, is_callers=is_callers)
        elif body.row_id is not None and body.row_id != row_id:
            wire.refuse("invalid_body", "the id in the body is not the one in the path", param="id")
        known = self._schema.current.find(model)
        if known is not None and row_id is not None:
            check_id(known, row_id)
        commit = RowCommit(
            organization=credential.organization_id,
            identity=credential.identity_json,
            key=key,
            action=action,
            model=model,
            row_id=row_id,
            body=body.raw,
            evidence=self._evidence(body.read_ats),
        )
        try:
            outcome = await self._schema.outlive_push(lambda: self._queue.send(commit))
        except QueueFullError as error:
            raise PgsyncError("queue_too_deep", "too many writes are waiting: send it again in a moment") from error
        except psycopg.Error as error:
            raise await self._explain(error, [(model, "{data}")], body.raw) from error
        return await self._receipt(credential, key, outcome), chosen or outcome.get("madeIds", {}).get("0")

    async def commit(self, credential: Credential, *, raw: bytes, key_header: str | None) -> bytes:
        """`POST /v1/commits` (contract 1.8)."""
        body = wire.parse_commit(raw)
        key, _ = wire.idempotency_key(key_header)
        return await self._measures.measure(self._commit(credential, _COMMIT, key, body, "{operations,%d,data}"))

    async def commit_frame(self, credential: Credential, *, raw: bytes, body: wire.CommitBody) -> bytes:
        """The `commit` frame of a socket (contract 2.5), whose clientTxId is the key."""
        assert body.idempotency_key is not None
        path = "{payload,operations,%d,input}"
        return await self._measures.measure(self._commit(credential, _COMMIT_FRAME, body.idempotency_key, body, path))

    async def _commit(
        self, credential: Credential, statement: Statement, key: str, body: wire.CommitBody, data_path: str
    ) -> bytes:
        parameters = (credential.identity_json, key.encode(), body.raw, self._evidence(body.read_ats))
        try:
            call = Call(statement, parameters)
            (result,) = await self._schema.outlive_push(
                lambda: self._database.run([call], organization=credential.organization_id)
            )
        except psycopg.Error as error:
            places = [(model, data_path % index) for index, model in enumerate(body.models)]
            raise await self._explain(error, places, body.raw) from error
        return await self._receipt(credential, key, orjson.loads(result.get_value(0, 0) or b"null"))

    def _choose_id(self, model: str, key: str, *, is_callers: bool) -> str | None:
        """The id of a create that names none: the one the contract's client would have sent (1.7)."""
        known = self._schema.current.find(model)
        if known is None or known.id_field.kind not in (Kind.TEXT, Kind.UUID):
            return None  # the database gives it: `madeIds`
        return wire.created_id(known.key, key) if is_callers else str(uuid.uuid4())

    def _evidence(self, read_ats: tuple[int, ...]) -> bytes | None:
        """What was visible at each premise's sync id, in terms that SQL can judge."""
        return orjson.dumps(self._premises.evidence(read_ats)) if read_ats else None

    async def _receipt(self, credential: Credential, key: str, outcome: Any) -> bytes:
        if outcome["outcome"] == "refused":
            raise PgsyncError.of_refusal(await self._premises.settle_refusal(outcome["error"]))
        server_tx_id: str = outcome["serverTxId"]
        last_sync_id: int | None = outcome.get("lastSyncId")
        if last_sync_id is None:
            last_sync_id = await self._feed.confirmed(server_tx_id, self._confirm_seconds)
            if last_sync_id is None and outcome["replayed"]:
                # It was in the database before, and its echo has had its time: it may have been lost with a slot.
                last_sync_id = self._feed.passed_over(server_tx_id)
            if last_sync_id is None:
                emit(Event.COMMIT_UNCONFIRMED, server_tx_id=server_tx_id, waited_seconds=self._confirm_seconds)
        return wire.receipt(
            client_tx_id=key,
            server_tx_id=server_tx_id,
            created_at=outcome["createdAt"],
            last_sync_id=last_sync_id,
            ops=outcome["ops"],
            authority_json=credential.authority_json,
            notifications=await self._premises.settle_notifications(outcome.get("notifications"), unknown=last_sync_id),
            missing_ids=outcome.get("missingIds"),
        )

    async def _explain(self, error: psycopg.Error, places: list[tuple[str, str]], raw: bytes) -> PgsyncError:
        """The contract's error for a database error, with the field at fault under its wire name."""
        explained = PgsyncError.of_database(error)
        if error.diag.column_name is not None and explained.param == error.diag.column_name:
            explained.param = self._schema.field_of(error.diag.table_name, error.diag.column_name)
        of_domain = error.diag.datatype_name is not None
        if explained.param is not None or not (of_domain or (error.sqlstate or "").startswith("22")):
            return explained
        for model, path in places:
            try:
                (result,) = await self._database.run([Call(_DIAGNOSE, (model.encode(), raw, path.encode()))])
            except psycopg.Error:
                break  # the first error is the one to report
            problems = orjson.loads(result.get_value(0, 0) or b"null")
            if problems:
                problem = problems[0]
                details = {"errors": [{"message": p["message"], "param": p["field"]} for p in problems]}
                return PgsyncError(explained.code, problem["message"], param=problem["field"], details=details)
        return explained
