"""The shapes of the contract's answers, each as one checker that takes nothing more and nothing less.

Written from the contract (the section is named at each), not from the gateway: what the contract's client refuses, and
every key that the contract does not know, is an assertion with the place in the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.acceptance.conftest import Reply

Check = Callable[[Any, str], None]

SEEN: Final[set[str]] = set()  # every place of an object's key that was checked, as `places` says them
_PARTS: Final[dict[Check, Callable[[str], set[str]]]] = {}


def places(check: Check, place: str) -> set[str]:
    """Every key that a checker knows, with where it is: `claim_queue.queue[].position`."""
    return _PARTS[check](place) if check in _PARTS else set()


# --- what checkers are made of ------------------------------------------------------------------------------------


def holds(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these keys and no others; an optional key is absent, never null, unless its checker takes null."""
    allowed = {**required, **(optional or {})}

    def check(value: Any, place: str) -> None:
        assert isinstance(value, dict), f"{place} is no object: {value!r}"
        missing, unknown = required.keys() - value.keys(), value.keys() - allowed.keys()
        assert not missing, f"{place} lacks {sorted(missing)}"
        assert not unknown, f"{place} has the keys {sorted(unknown)} that the contract does not know"
        for key, item in value.items():
            allowed[key](item, f"{place}.{key}")
            SEEN.add(re.sub(r"\[\d+\]", "[]", f"{place}.{key}"))

    def parts(place: str) -> set[str]:
        return {f"{place}.{key}" for key in allowed}.union(
            *(places(one, f"{place}.{key}") for key, one in allowed.items())
        )

    _PARTS[check] = parts
    return check


def every(item: Check, *, at_least: int = 0) -> Check:
    def check(value: Any, place: str) -> None:
        assert isinstance(value, list), f"{place} is no array: {value!r}"
        assert len(value) >= at_least, f"{place} has {len(value)} elements"
        for index, element in enumerate(value):
            item(element, f"{place}[{index}]")

    _PARTS[check] = lambda place: places(item, f"{place}[]")
    return check


def exactly(*values: Any) -> Check:
    def check(value: Any, place: str) -> None:
        assert any(type(value) is type(one) and value == one for one in values), f"{place} is {value!r}"

    return check


def either(*checks: Check) -> Check:
    def check(value: Any, place: str) -> None:
        failures: list[str] = []
        for one in checks:
            try:
                one(value, place)
            except AssertionError as failure:
                failures.append(str(failure))
            else:
                return
        raise AssertionError(" and ".join(failures))

    _PARTS[check] = lambda place: set().union(*(places(one, place) for one in checks))
    return check


def natural(value: Any, place: str) -> None:
    assert type(value) is int, f"{place} is {value!r}"
    assert value >= 0, f"{place} is {value!r}"


def text(value: Any, place: str) -> None:
    assert isinstance(value, str), f"{place} is {value!r}"
    assert value, f"{place} is empty"


def thing(value: Any, place: str) -> None:
    assert isinstance(value, dict), f"{place} is {value!r}"


def matching(pattern: str) -> Check:
    compiled = re.compile(pattern)

    def check(value: Any, place: str) -> None:
        assert isinstance(value, str), f"{place} is {value!r}"
        assert compiled.fullmatch(value), f"{place} is {value!r}"

    return check


NULL: Final = exactly(None)
FLAG: Final = exactly(True, False)
TIME: Final = matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z")
GROUP: Final = matching(r"default|[a-z][a-z0-9_]*:.+")
GRANT: Final = matching(r"[^.\s]+\.(read|create|update|delete)")
KIND: Final = exactly("user", "agent", "system")
MODE: Final = exactly("reject", "notify", "overwrite")
PARTICIPANT: Final = holds({"kind": KIND, "id": text})


def milliseconds(value: Any, place: str) -> None:
    natural(value, place)
    assert 1_500_000_000_000 < value < 10_000_000_000_000, f"{place} is not a time in milliseconds: {value}"


# --- identity and receipts (1.4, 1.5, 1.9, 1.10) ------------------------------------------------------------------

AUTHORITY: Final = holds(
    {
        "organizationId": text,
        "syncGroups": every(GROUP),
        "operations": every(GRANT),
        "participantKind": KIND,
        "participantId": text,
    },
    {"projectId": either(NULL, text), "branchId": either(NULL, text), "deliveryPartition": NULL},
)
IDENTITY: Final = holds(
    {
        "participantKind": KIND,
        "participantId": text,
        "accountScope": text,
        "projectId": either(NULL, text),
        "syncGroups": every(GROUP),
        "authority": AUTHORITY,
        "userMeta": thing,
    },
    {"branchId": either(NULL, text), "branchRoot": FLAG, "deliveryPartition": NULL},
)
TARGET: Final = holds({"model": text, "id": text}, {"field": text, "fields": every(text), "meta": thing})
_NOTIFICATION: Final[dict[str, Check]] = {
    "object": exactly("stale_notification"),
    "target": TARGET,
    "readAt": natural,
    "observedSyncId": natural,
    "writtenBy": PARTICIPANT,
}
NOTIFICATION: Final = either(
    holds({**_NOTIFICATION, "scope": exactly("row"), "currentValues": thing}),
    holds({**_NOTIFICATION, "scope": exactly("group"), "group": GROUP}),
)
RECEIPT: Final = holds(
    {
        "object": exactly("commit_receipt"),
        "clientTxId": text,
        "serverTxId": text,
        "createdAt": TIME,
        "success": exactly(True),
        "status": exactly("confirmed", "queued"),
        "statusAt": TIME,
        "lastSyncId": natural,
        "ops": natural,
        "authority": AUTHORITY,
    },
    {
        "id": text,
        "correlationId": matching(r"(?s).{1,255}"),
        "notifications": every(NOTIFICATION),
        "missingIds": every(text),
    },
)


def identity(reply: Reply) -> dict[str, Any]:
    return _checked(reply, 200, IDENTITY)


def receipt(reply: Reply, *, key: str | None = None, ops: int = 1) -> dict[str, Any]:
    """A receipt of a commit that was confirmed; `key` is the Idempotency-Key that was sent."""
    given = _checked(reply, 200, RECEIPT)
    assert key is None or given["clientTxId"] == given.get("id", key) == key
    assert given["status"] == "confirmed"
    assert datetime.fromisoformat(given["statusAt"]) >= datetime.fromisoformat(given["createdAt"])
    assert given["lastSyncId"] > 0 or "correlationId" not in given
    assert given["ops"] == ops
    return given


# --- claims (1.13, 1.14) ------------------------------------------------------------------------------------------

MODEL_CLAIM: Final = holds(
    {
        "id": text,
        "actor": text,
        "participantKind": KIND,
        "expiresAt": milliseconds,
        "target": TARGET,
    },
    {
        "description": text,
        "status": exactly("active", "queued"),
        "position": natural,
        "fenceToken": natural,
        "onBehalfOfId": either(NULL, text),
        "onBehalfOfKind": either(NULL, KIND),
        "capabilityId": either(NULL, text),
        "meta": thing,
        "field": text,
    },
)
CLAIM_SUMMARY: Final = holds(
    {
        "entityType": text,
        "entityId": text,
        "claimId": text,
        "declaredAt": milliseconds,
        "expiresAt": milliseconds,
    },
    {
        "description": text,
        "field": text,
        "fields": every(text),
        "meta": thing,
        "onBehalfOfId": text,
        "onBehalfOfKind": KIND,
    },
)
GRANTED: Final = holds(
    {"id": text, "object": exactly("claim"), "status": exactly("active"), "claim": MODEL_CLAIM},
    {"fenceToken": natural, "expiresAt": milliseconds},
)
QUEUED: Final = holds(
    {"id": text, "object": exactly("claim"), "status": exactly("queued"), "position": natural},
    {"heldBy": text, "expiresAt": milliseconds, "heldByClaim": CLAIM_SUMMARY},
)
CLAIM_STATE: Final = holds(
    {
        "id": text,
        "object": exactly("claim"),
        "status": exactly("active", "queued", "committed", "expired", "canceled"),
    },
    {"position": natural, "expiresAt": milliseconds, "fenceToken": natural},
)
_BEAT: Final[dict[str, Check]] = {"expiresAt": milliseconds, "queueDepth": natural, "position": natural}
HEARTBEAT: Final = holds(
    {"object": exactly("claim_heartbeat"), "claimId": text, "status": exactly("held", "queued")}, _BEAT
)
HEARTBEATS: Final = holds(
    {
        "object": exactly("list"),
        "results": every(holds({"claimId": text, "status": exactly("held", "queued", "lost")}, _BEAT)),
    }
)
CLAIMS: Final = holds(
    {
        "object": exactly("list"),
        "data": every(MODEL_CLAIM),
        "has_more": FLAG,
        "next_cursor": either(NULL, text),
    }
)


def granted(reply: Reply) -> dict[str, Any]:
    given = _checked(reply, 201, GRANTED)
    claim = given["claim"]
    assert (claim["id"], claim["status"]) == (given["id"], "active")
    assert (claim["fenceToken"], claim["expiresAt"]) == (given["fenceToken"], given["expiresAt"])
    return given


def queued(reply: Reply) -> dict[str, Any]:
    return _checked(reply, 202, QUEUED)


def claim_state(reply: Reply) -> dict[str, Any]:
    given = _checked(reply, 200, CLAIM_STATE)
    assert ("fenceToken" in given) == (given["status"] != "queued") or given["status"] == "canceled"
    return given


def heartbeat(reply: Reply) -> dict[str, Any]:
    given = _checked(reply, 200, HEARTBEAT)
    assert "expiresAt" in given if given["status"] == "held" else "position" in given
    return given


def heartbeats(reply: Reply) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = _checked(reply, 200, HEARTBEATS)["results"]
    return results


def claims(reply: Reply) -> list[dict[str, Any]]:
    """Holders first."""
    data: list[dict[str, Any]] = _checked(reply, 200, CLAIMS)["data"]
    waits = [claim["status"] == "queued" for claim in data]
    assert waits == sorted(waits)
    for claim in data:
        assert ("position" in claim) == (claim["status"] == "queued") != ("fenceToken" in claim)
    return data


def released(reply: Reply) -> bool:
    check = holds({"object": exactly("claim_release"), "released": FLAG})
    return bool(_checked(reply, 200, check)["released"])


def reordered(reply: Reply) -> bool:
    check = holds({"object": exactly("claim_reorder"), "reordered": FLAG})
    return bool(_checked(reply, 200, check)["reordered"])


# --- reads (1.6) --------------------------------------------------------------------------------------------------

BASE_FIELDS: Final = {
    "id": text,
    "createdAt": TIME,
    "updatedAt": TIME,
    "organizationId": text,
    "createdBy": either(NULL, text),
}


def row_of(fields: Mapping[str, Check]) -> Check:
    """A row of a model with these declared fields, beside the base fields."""
    return holds({**BASE_FIELDS, **fields})


def model(reply: Reply, row: Check = thing) -> dict[str, Any]:
    """The answer to a read of one row; a missing one is null."""
    return _checked(
        reply,
        200,
        holds(
            {
                "object": exactly("model"),
                "model": text,
                "id": text,
                "data": either(NULL, row),
                "stamp": natural,
                "claims": every(MODEL_CLAIM),
            }
        ),
    )


def rows(reply: Reply, row: Check = thing) -> dict[str, Any]:
    """The answer to a list, with evidence for each of its rows."""
    given = _checked(
        reply,
        200,
        holds(
            {
                "object": exactly("list"),
                "model": text,
                "data": every(row),
                "has_more": FLAG,
                "next_cursor": either(NULL, text),
                "stamp": natural,
                "evidence": every(holds({"id": text, "stamp": natural})),
            }
        ),
    )
    assert [str(one["id"]) for one in given["data"]] == [one["id"] for one in given["evidence"]]
    assert given["has_more"] == (given["next_cursor"] is not None)
    return given


# --- commit records (1.11) ----------------------------------------------------------------------------------------

_ROW_TARGET: Final = holds({"scope": exactly("row"), "model": text, "id": text}, {"fields": every(text)})
_GROUP_TARGET: Final = holds({"scope": exactly("group"), "group": GROUP})
_RECORD: Final = holds(
    {
        "id": text,
        "attempts": every(
            holds(
                {
                    "id": text,
                    "observedAt": TIME,
                    "transport": exactly("http", "websocket", "internal"),
                    "kind": exactly("execution", "replay"),
                }
            ),
            at_least=1,
        ),
        "actor": PARTICIPANT,
        "authority": AUTHORITY,
        "claims": every(holds({"id": text, "target": _ROW_TARGET, "fenceToken": natural})),
        "createdAt": TIME,
        "status": exactly("queued", "confirmed"),
        "statusAt": TIME,
        "lastSyncId": natural,
        "readSet": every(
            holds(
                {
                    "target": either(_ROW_TARGET, _GROUP_TARGET),
                    "watermark": natural,
                    "lifetime": exactly("commit", "persisted"),
                    "onStale": MODE,
                }
            )
        ),
        "operations": every(
            holds(
                {
                    "action": exactly("create", "update", "delete", "archive", "unarchive"),
                    "model": text,
                    "id": text,
                    "data": holds({"retention": exactly("redacted")}),
                }
            )
        ),
        "receipt": holds(
            {"clientTxId": text, "serverTxId": text},
            {"ops": natural, "notifications": every(NOTIFICATION), "missingIds": every(text)},
        ),
    },
    {"correlationId": text},
)


def record(reply: Reply) -> dict[str, Any] | None:
    """A commit record, or None where there is none."""
    if reply.status == 200 and reply.json is None:
        return None
    given = _checked(reply, 200, _RECORD)
    assert given["status"] == "queued" or given["lastSyncId"] > 0 or "correlationId" not in given
    assert given["id"] == given["receipt"]["clientTxId"]
    return given


def records(reply: Reply) -> dict[str, Any]:
    return _checked(reply, 200, holds({"data": every(_RECORD), "nextCursor": either(NULL, text)}))


# --- logs (1.12, 2.4) ---------------------------------------------------------------------------------------------

_DELTA: Final = holds(
    {
        "id": natural,
        "actionType": exactly("I", "U", "D", "A", "V", "C", "G", "S"),
        "modelName": text,
        "modelId": text,
        "data": either(NULL, thing),
        "createdAt": text,
    },
    {
        "previousData": thing,
        "actor": either(NULL, PARTICIPANT),
        "onBehalfOf": either(NULL, PARTICIPANT),
        "capabilityId": either(NULL, text),
        "confirmationState": either(NULL, text),
    },
)
_LOG_EVENT: Final = holds(
    {
        "object": exactly("log_event"),
        "id": natural,
        "at": TIME,
        "model": text,
        "op": exactly("create", "update", "delete", "archive", "revive", "visible", "group_added", "group_removed"),
        "recordId": text,
        "actor": either(NULL, matching(r"(user|agent|system):.+")),
    },
    {"delta": _DELTA},
)
_CLAIM_EVENT: Final = holds(
    {
        "object": exactly("claim_event"),
        "seq": natural,
        "at": TIME,
        "claimId": text,
        "status": exactly("active", "queued", "committed", "expired", "canceled"),
        "actor": text,
        "participantKind": KIND,
        "onBehalfOfId": either(NULL, text),
        "onBehalfOfKind": either(NULL, KIND),
        "capabilityId": either(NULL, text),
        "description": text,
        "expiresAt": milliseconds,
        "target": TARGET,
    },
    {"fenceToken": natural, "position": natural},
)


def _event(value: Any, place: str) -> None:
    thing(value, place)
    (_LOG_EVENT if value.get("object") == "log_event" else _CLAIM_EVENT)(value, place)


def logs(reply: Reply) -> dict[str, Any]:
    check = holds(
        {
            "object": exactly("list"),
            "data": every(_event),
            "has_more": FLAG,
            "next_cursor": either(NULL, matching(r"\d+(\.\d+)?")),
        }
    )
    return _checked(reply, 200, check)


# --- sessions (1.12) ----------------------------------------------------------------------------------------------

_CAPABILITY: Final[dict[str, Check]] = {
    "capabilityId": text,
    "token": matching(r"rk_[0-9A-Za-z]{36}"),
    "organizationId": text,
    "scope": AUTHORITY,
}


def capability(reply: Reply) -> dict[str, Any]:
    required = {**_CAPABILITY, "expiresAt": TIME, "userMeta": thing}
    return _checked(reply, 201, holds(required, {"branchRoot": FLAG}))


def rotated(reply: Reply) -> dict[str, Any]:
    origin = holds({"capabilityId": text, "expiresAt": TIME})
    required = {**_CAPABILITY, "expiresAt": either(NULL, TIME), "rotatedFrom": origin}
    return _checked(reply, 201, holds(required, {"branchRoot": FLAG}))


def revoked(reply: Reply) -> dict[str, Any]:
    check = holds({"id": text, "deleted": exactly(True), "activeSessionsClosed": natural})
    return _checked(reply, 200, check)


def ephemeral_key(reply: Reply) -> dict[str, Any]:
    check = holds(
        {
            "id": text,
            "token": matching(r"ek_[0-9A-Za-z]{36}"),
            "expiresAt": TIME,
            "organizationId": text,
            "participantId": text,
            "syncGroups": every(GROUP),
            "operations": every(GRANT, at_least=1),
        },
        {
            "object": exactly("ephemeral_key"),
            "projectId": either(NULL, text),
            "branchId": either(NULL, text),
            "branchRoot": FLAG,
            "deliveryPartition": NULL,
        },
    )
    return _checked(reply, 201, check)


# --- errors (1.13) ------------------------------------------------------------------------------------------------

_CLASS_OF_CODE: Final = {
    "capability_scope_denied": "AbloPermissionError",
    "capability_invalid": "AbloPermissionError",
    "claim_conflict": "AbloClaimedError",
    "entity_claimed": "AbloClaimedError",
    "claim_lost": "AbloClaimedError",
    "stale_context": "AbloStaleContextError",
    "connected_database_unreachable": "AbloConnectionError",
}
_CLASS_OF_STATUS: Final = {
    400: "AbloValidationError",
    401: "AbloAuthenticationError",
    403: "AbloPermissionError",
    409: "AbloIdempotencyError",
    422: "AbloValidationError",
    429: "AbloRateLimitError",
}
_CONFLICT: Final = holds({"model": text, "id": text, "observedSyncId": natural}, {"group": GROUP})
_DETAILS: Final[Mapping[str, Check]] = {
    "conflicts": every(_CONFLICT, at_least=1),
    "readAt": either(NULL, natural),
    "heldBy": text,
    "heldByClaim": CLAIM_SUMMARY,
    "claims": every(CLAIM_SUMMARY, at_least=1),
    "missingIds": every(text, at_least=1),
    "requiredCapability": holds({"scope": GRANT}),
    "operation": natural,
}


def refusal(reply: Reply, status: int, code: str, details: Collection[str] = ()) -> dict[str, Any]:
    """An error envelope with exactly these details beside what every one has."""
    check = holds(
        {
            "type": exactly(_CLASS_OF_CODE.get(code) or _CLASS_OF_STATUS.get(status) or "AbloError"),
            "code": exactly(code),
            "message": text,
            "request_id": exactly(reply.headers["x-request-id"]),
            **{name: _DETAILS[name] for name in details},
        },
        {"doc_url": text, "param": text},
    )
    return _checked(reply, status, check)


def _checked(reply: Reply, status: int, check: Check) -> dict[str, Any]:
    assert reply.status == status, (reply.status, reply.body)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    parsed: dict[str, Any] = reply.json
    check(parsed, "answer")
    return parsed


# --- frames (2.4, 2.6) ----------------------------------------------------------------------

FRAME_TARGET: Final = holds(
    {"entityType": text, "entityId": text}, {"field": text, "fields": every(text), "meta": thing}
)
_LINE_TARGET: Final = holds({"type": text, "id": text}, {"field": text, "fields": every(text), "meta": thing})
_IN_THE_WAY: Final[dict[str, Check]] = {
    "heldBy": text,
    "heldByKind": KIND,
    "heldByClaim": CLAIM_SUMMARY,
    "heldByExpiresAt": milliseconds,
}
_GRANTED_FRAME: Final = holds({"claimId": text, "target": FRAME_TARGET}, {"fenceToken": natural, "readAt": natural})
_STREAMED: Final = holds(
    {
        "id": natural,
        "actionType": exactly("I", "U", "D"),
        "modelName": text,
        "modelId": either(text, exactly("")),
        "data": either(NULL, thing),
        "syncGroups": every(GROUP),
        "createdAt": TIME,
        "actor": either(NULL, PARTICIPANT),
        "onBehalfOf": either(NULL, PARTICIPANT),
        "capabilityId": either(NULL, text),
        "confirmationState": exactly("auto"),
    },
    {"transactionId": text},
)
_REFUSED: Final[dict[str, Check]] = {"code": text, "message": text, "request_id": text}
_REJECTION: Final = holds(
    {
        "object": exactly("commit_receipt"),
        "clientTxId": text,
        "serverTxId": text,
        "createdAt": TIME,
        "statusAt": TIME,
        "status": exactly("rejected"),
        "success": exactly(False),
        "authority": AUTHORITY,
        "error": holds(_REFUSED, {"field": text, "requiredCapability": holds({"scope": text}), "details": thing}),
    },
    {"ops": natural},
)
FRAMES: Final[dict[str, Check]] = {
    "delta": either(_STREAMED, holds({"deltas": every(_STREAMED, at_least=2)})),
    "mutation_result": either(RECEIPT, _REJECTION),
    "sync_response": holds(
        {"deltas": every(_STREAMED), "currentSyncId": natural, "cursor": text}, {"requiresBootstrap": exactly(True)}
    ),
    "bootstrap_response": holds(
        {
            "type": exactly("full"),
            "lastSyncId": natural,
            "models": thing,
            "timestamp": milliseconds,
            "schemaHash": text,
        },
        {"failedModels": every(text, at_least=1), "nextCursor": text},
    ),
    "subscription_ack": holds({"success": FLAG, "syncGroups": every(GROUP)}, {"error": holds(_REFUSED)}),
    "pong": holds({}),
    "claim_ack": either(
        holds({"claimId": text, "success": exactly(True)}, {"syncGroups": every(GROUP), "ttlSeconds": natural}),
        holds(
            {
                "claimId": either(text, exactly("")),
                "success": exactly(False),
                "error": holds({"code": text, "message": text}, {"requiredCapability": holds({"scope": text})}),
            }
        ),
    ),
    "claim_acquired": _GRANTED_FRAME,
    "claim_granted": _GRANTED_FRAME,
    "claim_queued": holds(
        {"claimId": text, "position": natural}, {"target": FRAME_TARGET, "policyReason": text, **_IN_THE_WAY}
    ),
    "claim_rejected": holds(
        {"claimId": either(text, exactly(""))},
        {
            "reason": exactly(
                "conflict", "coordination_unavailable", "capability_denied", "invalid_target", "expired", "preempted"
            ),
            "message": text,
            "target": FRAME_TARGET,
            **_IN_THE_WAY,
        },
    ),
    "claim_lost": holds({"claimId": text, "reason": exactly("expired", "preempted"), "target": FRAME_TARGET}),
    "claim_expired": holds({"claimId": text}),
    "claim_queue": holds(
        {
            "target": holds({"type": text, "id": text}),
            "queue": every(
                holds(
                    {
                        "object": exactly("claim"),
                        "id": text,
                        "status": exactly("queued"),
                        "target": _LINE_TARGET,
                        "position": natural,
                        "expiresAt": milliseconds,
                    },
                    {"description": text, "heldBy": text, "participantKind": KIND},
                )
            ),
        }
    ),
    "claim_heartbeat_ack": holds(
        {"claimId": either(text, exactly("")), "status": exactly("held", "queued", "lost")}, _BEAT
    ),
    "presence_update": holds(
        {
            "kind": exactly("enter", "update", "leave"),
            "userId": text,
            "status": text,
            "syncGroups": every(GROUP),
            "timestamp": milliseconds,
            "activeClaims": every(
                holds(
                    {
                        "entityType": text,
                        "entityId": text,
                        "claimId": text,
                        "declaredAt": milliseconds,
                        "expiresAt": milliseconds,
                        "status": exactly("active"),
                    },
                    {
                        "description": text,
                        "field": text,
                        "fields": every(text),
                        "meta": thing,
                        "onBehalfOfId": text,
                        "onBehalfOfKind": KIND,
                    },
                )
            ),
            "isAgent": FLAG,
            "participantKind": KIND,
        },
        {
            "timezone": text,
            "customStatus": text,
            "activity": holds(
                {"entityType": text, "entityId": text, "action": text},
                {
                    "field": text,
                    "fields": every(text),
                    "meta": thing,
                    "detail": text,
                    "loadFactor": either(natural, lambda value, place: None),
                    "acceptingNewWork": FLAG,
                },
            ),
            "delegatedFrom": text,
            "mesh": thing,  # what an application says besides
        },
    ),
}


def frame(received: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a frame of the server, whose shape is checked."""
    assert received.keys() == {"type", "payload"}
    payload: dict[str, Any] = received["payload"]
    FRAMES[received["type"]](payload, received["type"])
    return payload
