"""The shapes of the contract's requests and answers, and nothing of their meaning.

Requests are checked here for shape only and then travel to SQL as the bytes that came; answers are put together from
bytes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import orjson

from pgsync.errors import PgsyncError

PROTOCOL_VERSION: Final = "1"
API_VERSION: Final = "2026-08-04"  # of the documented server whose answers ours are shaped like
MAX_KEY_LENGTH: Final = 255
MAX_ID_LENGTH: Final = 255
MAX_OPERATIONS: Final = 500
MAX_PREMISES: Final = 500
MAX_SUBSCRIBED_GROUPS: Final = 200
MAX_DEPTH: Final = 200  # of JSON: orjson writes 254 levels, and ours go around it
MAX_WRITTEN_OUT_BYTES: Final = 1024 * 1024
MAX_WRITTEN_OUT_FACTOR: Final = 4

ACTIONS: Final = frozenset({"create", "update", "delete", "archive", "unarchive"})
STALE_MODES: Final = frozenset({"reject", "notify", "overwrite"})
TRACK_MODES: Final = frozenset({"reject", "notify"})

_LONG_NUMBER = re.compile(rb"[0-9][eE][+-]?[0-9]*[0-9]{2}")
_EXPONENTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[0-9][eE][+-]?([0-9]+)', re.DOTALL)
_GROUP = re.compile(r"(?:default|[a-z][a-z0-9_]*:.+)\Z", re.DOTALL)
_ETAG = re.compile(r'(?:W/)?"([0-9]{1,18})"')
_CREATE_NAMESPACE: Final = uuid.UUID("aa4ba6d4-bf0b-5b38-9c45-116f79a6e548")
_OPERATION_KEYS: Final = frozenset(
    {"action", "model", "id", "data", "transactionId", "claimId", "readAt", "onStale", "fenceToken"}
)
_FRAME_OPERATION_KEYS: Final = (_OPERATION_KEYS - {"action", "data"}) | {"type", "input", "bypass"}
_WRITE_KEYS: Final = frozenset(
    {"data", "id", "claim", "fenceToken", "readAt", "onStale", "reads", "track", "idempotencyKey"}
)
_ROW_PREMISE_KEYS: Final = frozenset({"model", "id", "fields", "readAt", "onStale"})
_GROUP_PREMISE_KEYS: Final = frozenset({"group", "readAt", "onStale"})

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WriteBody:
    """A checked body of POST, PATCH or DELETE on a model: its bytes for SQL and what the gateway itself needs of it.

    `read_ats` are the sync ids of its premises, each of which needs evidence before SQL can judge it.
    """

    raw: bytes
    row_id: str | None
    idempotency_key: str | None
    read_ats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CommitBody:
    """A checked body of `POST /v1/commits`, or a checked `commit` frame with its key; `models` are its operations' in
    order.
    """

    raw: bytes
    idempotency_key: str | None
    models: tuple[str, ...]
    read_ats: tuple[int, ...]


def refuse(code: str, message: str, *, param: str | None = None, **details: Any) -> NoReturn:
    """Raises the error of this code, naming the place in the request that is wrong."""
    raise PgsyncError(code, message, param=param, details=details)


# --- requests -------------------------------------------------------------------------------------------------------


def parse_json(raw: bytes) -> Any:
    """The value that the bytes spell, for checking shapes only: numbers beyond 64 bits lose digits here.

    Raises invalid_json, and invalid_body for the one character that JSON has and Postgres text has not.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise PgsyncError("invalid_json", f"the body is not JSON: {error}") from error
    check_depth(raw, value)
    check_numbers(raw)
    check_text(raw, value)
    return value


def check_depth(raw: bytes, value: Any) -> None:
    """Refuses what is nested deeper than an answer that carries it on could be. `value` is what `raw` spells."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            refuse("invalid_body", f"the body is nested deeper than {MAX_DEPTH} levels")
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]


def check_numbers(raw: bytes) -> None:
    """Refuses numbers that are much longer written out than as they came. `raw` is JSON.

    Postgres keeps the exponent of no number: `1e-16383` are 16 KB wherever it stands as text, which it does in each
    hash, answer and message of the log. So a body of 270 KB took 1.4 GB of a server's memory, and a row of such numbers
    would be more than the log can carry, for ever.
    """
    if _LONG_NUMBER.search(raw) is None:
        return
    left = MAX_WRITTEN_OUT_BYTES + MAX_WRITTEN_OUT_FACTOR * len(raw)
    for found in _EXPONENTS.finditer(raw):
        exponent = (found[1] or b"").lstrip(b"0")
        left -= int(exponent or b"0") if len(exponent) < 10 else left + 1
        if left < 0:
            refuse("invalid_body", "numbers are too long when they are written out without their exponents")


def check_text(raw: bytes, value: Any) -> None:
    """Refuses the one character that JSON has and Postgres text has not. `value` is what `raw` spells."""
    if b"\\u0000" in raw:
        place = _place_of_nul(value, "")
        if place is not None:
            refuse("invalid_body", "text may not hold the character U+0000", param=place or None)


def _place_of_nul(value: Any, place: str) -> str | None:
    if isinstance(value, str):
        return place if "\0" in value else None
    children: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        for key in value:
            if "\0" in key:
                return place
        children = ((f"{place}.{key}" if place else key, child) for key, child in value.items())
    elif isinstance(value, list):
        children = ((f"{place}[{index}]", child) for index, child in enumerate(value))
    return next((found for path, child in children if (found := _place_of_nul(child, path)) is not None), None)


def check_protocol_version(value: str | None) -> None:
    """Both ends speak version 1 and nothing else (contract 1.2)."""
    if value is not None and value.strip() != PROTOCOL_VERSION:
        refuse(
            "protocol_version_unsupported",
            f"this server speaks protocol version {PROTOCOL_VERSION}, the request asks for {value[:20]!r}",
            supported=[1],
        )


def idempotency_key(header: str | None, in_body: str | None = None) -> tuple[str, bool]:
    """The key of a write and whether the caller chose it; the header wins over the body (contract 1.3, 1.7)."""
    key = header or in_body
    if not key:
        return str(uuid.uuid4()), False
    if len(key) > MAX_KEY_LENGTH:
        refuse(
            "idempotency_key_too_long",
            f"an idempotency key has at most {MAX_KEY_LENGTH} characters, this one {len(key)}",
            param="Idempotency-Key",
        )
    if not key.isprintable():  # control characters, and bytes of a header that are not UTF-8
        refuse("invalid_request", "an idempotency key holds printable characters only", param="Idempotency-Key")
    return key, True


def created_id(model_key: str, key: str) -> str:
    """The id that a client derives from its idempotency key for a create without one (contract 1.7)."""
    return str(uuid.uuid5(_CREATE_NAMESPACE, f"{model_key}:{key}"))


def check_row_id(row_id: str) -> str:
    """A row id that may be looked up. Raises invalid_id."""
    if not row_id or len(row_id) > MAX_ID_LENGTH or "\0" in row_id or not is_text(row_id):
        refuse("invalid_id", f"a row id is text of 1 to {MAX_ID_LENGTH} characters", param="id")
    return row_id


def is_text(value: str) -> bool:
    """Whether it can be encoded: JSON may hold half of a surrogate pair, which Postgres does not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_sync_group(group: str) -> str:
    """A sync group's label (contract 0). Raises invalid_sync_group."""
    if _GROUP.match(group) is None:
        refuse("invalid_sync_group", "a sync group is default or <kind>:<id>", param="syncGroups")
    return group


def etag(stamp: int) -> str:
    """The ETag of a row that was read with this stamp: what `If-Match` takes back as `readAt`."""
    return f'"{stamp}"'


def if_match(header: str | None) -> int | None:
    """The stamp in an `If-Match` header; None when it asks for nothing more than that the row is there.

    A weak tag is taken too: proxies that compress make them of ours. Raises invalid_request.
    """
    if header is None or header.strip() == "*":
        return None
    found = _ETAG.fullmatch(header.strip())
    if found is None:
        refuse("invalid_request", "If-Match takes the one ETag that a read of the row came with", param="If-Match")
    return int(found[1])


def parse_write(raw: bytes, *, read_at: int | None = None) -> WriteBody:
    """The body of a single-row write (contract 1.7); an absent body is an empty object.

    `read_at` of an `If-Match` header becomes the body's `readAt`, and `onStale` reject. Raises invalid_json,
    invalid_body, invalid_id with the key that is wrong.
    """
    raw = raw or b"{}"
    body = parse_json(raw)
    if not isinstance(body, dict):
        refuse("invalid_body", "the body is a JSON object with the row's fields under data")
    for key in body:
        if key not in _WRITE_KEYS:
            refuse("invalid_body", f"unknown key {key!r}: the row's fields belong under data", param=key)
    data = body.get("data")
    if data is not None and not isinstance(data, dict):
        refuse("invalid_body", "data is an object of field values", param="data")
    if read_at is not None:
        raw, body = _guarded(raw, body, read_at)
    row_id = _row_id(body.get("id"), "id")
    _optional_text(body, "claim", "invalid_body")
    key_in_body = _optional_text(body, "idempotencyKey", "invalid_body")
    read_ats: list[int] = []
    _guards(body, "", "invalid_body", read_ats)
    _premises(body, read_ats)
    return WriteBody(raw=raw, row_id=row_id, idempotency_key=key_in_body, read_ats=tuple(read_ats))


def _guarded(raw: bytes, body: Json, read_at: int) -> tuple[bytes, Json]:
    """The body with a premise put in behind bytes that stay as they came: of equal keys the last one counts."""
    for key, value in (("readAt", read_at), ("onStale", "reject")):
        if body.get(key) not in (None, value):
            refuse("invalid_body", f"{key} says something else than If-Match", param=key)
    comma = b"," if body else b""
    raw = raw.rstrip(b" \t\r\n")[:-1] + comma + b'"readAt":%d,"onStale":"reject"}' % read_at
    return raw, {**body, "readAt": read_at, "onStale": "reject"}


def parse_commit(raw: bytes) -> CommitBody:
    """The body of a batch (contract 1.8), which is strict: unknown keys are refused.

    Raises invalid_json, invalid_body and the commit_operation codes with the place that is wrong.
    """
    body = parse_json(raw)
    if not isinstance(body, dict):
        refuse("invalid_body", "the body is a JSON object with operations, reads and track")
    if "operation" in body and "operations" in body:
        refuse("commit_operations_ambiguous", "both operation and operations are given", param="operation")
    for key in body:
        if key not in ("operations", "reads", "track"):
            refuse("invalid_body", f"unknown key {key!r}: a commit has operations, reads and track", param=key)
    read_ats = _commit(body, is_frame=False)
    return CommitBody(raw=raw, idempotency_key=None, models=_models(body), read_ats=read_ats)


def parse_commit_frame(raw: bytes, payload: Any) -> CommitBody:
    """The payload of a `commit` frame (contract 2.5). The frame's clientTxId is the idempotency key."""
    if not isinstance(payload, dict):
        refuse("invalid_body", "the payload of a commit is an object", param="payload")
    for key in payload:
        if key not in ("operations", "reads", "track", "clientTxId"):
            refuse("invalid_body", f"unknown key {key!r} in a commit", param=key)
    key, _ = idempotency_key(_optional_text(payload, "clientTxId", "invalid_body"))
    read_ats = _commit(payload, is_frame=True)
    return CommitBody(raw=raw, idempotency_key=key, models=_models(payload), read_ats=read_ats)


def _models(body: Json) -> tuple[str, ...]:
    return tuple(operation["model"] for operation in body.get("operations") or ())


def _commit(body: Json, *, is_frame: bool) -> tuple[int, ...]:
    operations = body.get("operations")
    if operations is None:
        if not body.get("track"):
            refuse(
                "commit_operation_required",
                "a commit has at least one operation or tracks something",
                param="operations",
            )
        operations = []
    elif not isinstance(operations, list):
        refuse("invalid_body", "operations is an array", param="operations")
    # A frame always has the key, also one that only tracks.
    elif not operations and not (is_frame and body.get("track")):
        refuse("commit_operation_required", "operations is empty", param="operations")
    if len(operations) > MAX_OPERATIONS:
        refuse(
            "commit_too_many_operations",
            f"a commit has at most {MAX_OPERATIONS} operations, this one {len(operations)}",
            param="operations",
        )
    read_ats: list[int] = []
    for index, operation in enumerate(operations):
        _operation(operation, f"operations[{index}]", read_ats, is_frame=is_frame)
    _premises(body, read_ats)
    return tuple(read_ats)


def _operation(operation: Any, place: str, read_ats: list[int], *, is_frame: bool) -> None:
    code = "commit_operation_invalid"
    if not isinstance(operation, dict):
        refuse(code, "an operation is an object", param=place)
    action_key, data_key = ("type", "input") if is_frame else ("action", "data")
    allowed = _FRAME_OPERATION_KEYS if is_frame else _OPERATION_KEYS
    for key in operation:
        if key not in allowed:
            refuse(code, f"unknown key {key!r} in an operation", param=f"{place}.{key}")
    action = operation.get(action_key)
    if action is None or action == "":
        refuse("commit_operation_action_required", "an operation names its action", param=f"{place}.{action_key}")
    if not isinstance(action, str) or (action.lower() if is_frame else action) not in ACTIONS:
        refuse(
            "commit_operation_unsupported",
            f"unknown action {action!r}: one of {', '.join(sorted(ACTIONS))}",
            param=f"{place}.{action_key}",
        )
    model = operation.get("model")
    if model is None or model == "":
        refuse("commit_operation_model_required", "an operation names its model", param=f"{place}.model")
    if not isinstance(model, str):
        refuse(code, "model is a string", param=f"{place}.model")
    if _row_id(operation.get("id"), f"{place}.id") is None and action.lower() != "create":
        refuse("model_identifier_missing", "an operation names the row it is about", param=f"{place}.id")
    data = operation.get(data_key)
    if data is not None and not isinstance(data, dict):
        refuse(code, f"{data_key} is an object of field values", param=f"{place}.{data_key}")
    _optional_text(operation, "transactionId", code, place)
    _optional_text(operation, "claimId", code, place)
    _guards(operation, place, code, read_ats)


def _premises(body: Json, read_ats: list[int]) -> None:
    reads, track = body.get("reads"), body.get("track")
    for name, entries in (("reads", reads), ("track", track)):
        if entries is None:
            continue
        if not isinstance(entries, list):
            refuse("invalid_body", f"{name} is an array", param=name)
        for index, entry in enumerate(entries):
            _premise(entry, f"{name}[{index}]", read_ats, is_track=name == "track")
    if len(reads or ()) + len(track or ()) > MAX_PREMISES:
        refuse("invalid_body", f"reads and track together have at most {MAX_PREMISES} entries", param="reads")


def _premise(entry: Any, place: str, read_ats: list[int], *, is_track: bool) -> None:
    if not isinstance(entry, dict):
        refuse("invalid_body", "an entry is an object", param=place)
    allowed = _GROUP_PREMISE_KEYS if "group" in entry else _ROW_PREMISE_KEYS
    for key in entry:
        if key not in allowed:
            refuse("invalid_body", f"unknown key {key!r}", param=f"{place}.{key}")
    if "group" in entry:
        group = entry["group"]
        if not isinstance(group, str) or _GROUP.match(group) is None:
            refuse("invalid_sync_group", "a sync group is default or <kind>:<id>", param=f"{place}.group")
    else:
        model = entry.get("model")
        if not isinstance(model, str) or not model:
            refuse("invalid_body", "an entry names its model", param=f"{place}.model")
        if _row_id(entry.get("id"), f"{place}.id") is None:
            refuse("model_identifier_missing", "an entry names its row", param=f"{place}.id")
        fields = entry.get("fields")
        if fields is not None and not (isinstance(fields, list) and all(isinstance(f, str) for f in fields)):
            refuse("invalid_body", "fields is an array of field names", param=f"{place}.fields")
    if not is_track and entry.get("readAt") is None:
        refuse("invalid_body", "a premise says when it was read", param=f"{place}.readAt")
    _guards(entry, place, "invalid_body", read_ats)
    if is_track and entry.get("onStale") not in (None, *TRACK_MODES):
        refuse("invalid_body", "onStale of a tracked premise is reject or notify", param=f"{place}.onStale")


def _guards(body: Json, place: str, code: str, read_ats: list[int]) -> None:
    """readAt, onStale and fenceToken, which every guarded thing has alike."""
    read_at = body.get("readAt")
    if read_at is not None:
        if not _is_natural(read_at):
            refuse(code, "readAt is a sync id: an integer of 0 or more", param=_join(place, "readAt"))
        read_ats.append(read_at)
    on_stale = body.get("onStale")
    if on_stale is not None and (not isinstance(on_stale, str) or on_stale not in STALE_MODES):
        refuse(code, f"onStale is one of {', '.join(sorted(STALE_MODES))}", param=_join(place, "onStale"))
    fence_token = body.get("fenceToken")
    if fence_token is not None and not _is_natural(fence_token):
        refuse(code, "fenceToken is an integer", param=_join(place, "fenceToken"))


def _is_natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _row_id(value: Any, place: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a model whose id is an integer
    if not isinstance(value, str) or not value or len(value) > MAX_ID_LENGTH:
        refuse("invalid_id", f"a row id is text of 1 to {MAX_ID_LENGTH} characters", param=place)
    return value


def _optional_text(body: Json, key: str, code: str, place: str = "") -> str | None:
    value = body.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        refuse(code, f"{key} is text", param=_join(place, key))
    return value


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


# --- answers --------------------------------------------------------------------------------------------------------


def sync_groups(credential: Json) -> list[str]:
    """Every group that a credential holds: its own, and those that memberships grant it now."""
    return list(dict.fromkeys((*credential["syncGroups"], *(credential.get("edgeGroups") or ()))))


def authority(credential: Json) -> dict[str, Any]:
    """The statement of what a credential may do (contract 1.4), from what `pgsync.authenticate_v1` returned."""
    return {
        "organizationId": credential["organizationId"],
        "projectId": credential["projectId"],
        "branchId": credential["branchId"],
        "syncGroups": sync_groups(credential),
        "operations": credential["operations"],
        "participantKind": credential["participantKind"],
        "participantId": credential["participantId"],
        "deliveryPartition": None,
    }


def identity(credential: Json) -> bytes:
    """The answer to `GET /auth/identity` (contract 1.5)."""
    return orjson.dumps(
        {
            "participantKind": credential["participantKind"],
            "participantId": credential["participantId"],
            "accountScope": credential["organizationId"],
            "projectId": credential["projectId"],
            "branchId": credential["branchId"],
            "branchRoot": credential["branchRoot"],
            "syncGroups": sync_groups(credential),
            "deliveryPartition": None,
            "authority": authority(credential),
            "userMeta": credential["userMeta"],
        }
    )


def receipt(
    *,
    client_tx_id: str,
    server_tx_id: str,
    created_at: str,
    last_sync_id: int | None,
    ops: int,
    authority_json: bytes,
    notifications: Any = None,
    missing_ids: Any = None,
) -> bytes:
    """The answer to any accepted write (contract 1.9); `last_sync_id` None makes it a queued one.

    Strict: a key that does not apply is left out, never null. `statusAt` is the commit's own time on the database's
    clock and `correlationId` its server id, so that every answer to a retry is the same bytes, whichever gateway
    gives it.
    """
    key = orjson.dumps(client_tx_id)
    server = orjson.dumps(server_tx_id)
    created = orjson.dumps(created_at)
    parts = [b'{"object":"commit_receipt","id":', key, b',"clientTxId":', key, b',"serverTxId":', server]
    parts += [b',"createdAt":', created, b',"success":true,"status":']
    parts.append(b'"queued"' if last_sync_id is None else b'"confirmed"')
    parts += [b',"statusAt":', created, b',"lastSyncId":%d,"ops":%d,"authority":' % (last_sync_id or 0, ops)]
    parts.append(authority_json)
    if last_sync_id is None or last_sync_id > 0:
        parts += [b',"correlationId":', server]
    if notifications:
        parts += [b',"notifications":', orjson.dumps(notifications)]
    if missing_ids:
        parts += [b',"missingIds":', orjson.dumps(missing_ids)]
    parts.append(b"}")
    return b"".join(parts)


def rejection_frame(
    *, client_tx_id: str, authority_json: bytes, error: Json, ops: int | None = None, at: datetime | None = None
) -> bytes:
    """A `mutation_result` frame that refuses a commit (contract 2.6); `error` is its `error` object, `ops` how many
    operations it had, None for what is no list of them.

    A refused commit left no trace in the database, so its server id only has to be there and to be unlike a commit's.
    """
    now = orjson.dumps((at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    key = orjson.dumps(client_tx_id)
    return b"".join(
        (
            b'{"type":"mutation_result","payload":{"object":"commit_receipt","clientTxId":',
            key,
            b',"serverTxId":',
            orjson.dumps(f"rejected:{client_tx_id}"),
            b',"createdAt":',
            now,
            b',"statusAt":',
            now,
            b',"status":"rejected","success":false,"authority":',
            authority_json,
            b"" if ops is None else b',"ops":%d' % ops,
            b',"error":',
            orjson.dumps(error),
            b"}}",
        )
    )


def frame_error(error: PgsyncError, request_id: str) -> dict[str, Any]:
    """The `error` object of a rejected commit (contract 2.6); only what is in its `details` reaches the caller's.

    `request_id` is that of the socket's handshake, by which the log knows it.
    """
    shown: dict[str, Any] = {"code": error.code, "message": error.message, "request_id": request_id}
    if error.param is not None:
        shown["field"] = error.param
    details = dict(error.details)
    required = details.pop("requiredCapability", None)
    if required is not None:
        shown["requiredCapability"] = required
    if details:
        shown["details"] = details
    return shown


def frame(kind: bytes, payload: bytes) -> bytes:
    """A WebSocket frame `{type, payload}`."""
    return b'{"type":"' + kind + b'","payload":' + payload + b"}"


def row(*, model: str, row_id: str, data: bytes | None, stamp: int, claims: bytes = b"[]") -> bytes:
    """The answer to a read of one row; a missing one is `data: null` (contract 1.6)."""
    return b"".join(
        (
            b'{"object":"model","model":',
            orjson.dumps(model),
            b',"id":',
            orjson.dumps(row_id),
            b',"data":',
            b"null" if data is None else data,
            b',"stamp":%d,"claims":' % stamp,
            claims,
            b"}",
        )
    )


def rows(*, model: str, data: list[bytes], ids: list[str], next_cursor: str | None, stamp: int) -> bytes:
    """The answer to a list (contract 1.6). All rows come from one snapshot, so each one's evidence is the list's
    stamp.
    """
    ending = b',"stamp":%d}' % stamp
    return b"".join(
        (
            b'{"object":"list","model":',
            orjson.dumps(model),
            b',"data":[',
            b",".join(data),
            b'],"has_more":',
            b"false" if next_cursor is None else b"true",
            b',"next_cursor":',
            orjson.dumps(next_cursor),
            b',"stamp":%d,"evidence":[' % stamp,
            b",".join([b'{"id":' + orjson.dumps(row_id) + ending for row_id in ids]),
            b"]}",
        )
    )
