"""Every route of the gateway for the OpenAPI document: what it takes, what it answers, which codes it refuses with.

A test holds this table against the routes that exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pgsync.errors import CODES

Json = dict[str, Any]

TEXT: Final[Json] = {"type": "string"}
_NAME: Final[Json] = {"type": "string", "minLength": 1}
TIME: Final[Json] = {"type": "string", "format": "date-time"}
FLAG: Final[Json] = {"type": "boolean"}
_OBJECT: Final[Json] = {"type": "object"}
NATURAL: Final[Json] = {"type": "integer", "minimum": 0}
_TEXTS: Final[Json] = {"type": "array", "items": TEXT}

# What can befall any call with a key.
ALWAYS: Final = (
    "invalid_request",
    "api_key_required",
    "apikey_invalid",
    "apikey_expired",
    "apikey_revoked",
    "jwt_malformed",
    "jwt_missing_issuer",
    "jwt_issuer_untrusted",
    "jwt_signature_invalid",
    "jwt_expired",
    "jwt_audience_mismatch",
    "jwt_missing_subject",
    "jwt_missing_organization",
    "jwt_invalid",
    "protocol_version_unsupported",
    "internal_error",
    "connected_database_unreachable",
    "instance_at_capacity",
    "session_check_failed",
    "wait_for_timeout",
)
_BODY: Final = ["invalid_json", "invalid_body", "request_too_large"]
_READ: Final = [
    "unknown_model",
    "capability_scope_denied",
    "capability_invalid",
    "invalid_id",
    "model_not_provisioned",
    "forbidden",
]
_WRITE: Final = [
    *_BODY,
    *_READ,
    "idempotency_key_too_long",
    "mutate_create_unknown_model",
    "server_execute_unknown_model",
    "commit_operation_action_required",
    "commit_operation_invalid",
    "commit_operation_model_required",
    "commit_operation_required",
    "commit_operation_unsupported",
    "commit_operations_ambiguous",
    "commit_too_many_operations",
    "model_identifier_missing",
    "model_required_field_missing",
    "column_type_mismatch",
    "not_null_violation",
    "check_violation",
    "constraint_violation",
    "validation_failed",
    "invalid_input",
    "invalid_sync_group",
    "organization_mismatch",
    "mutate_update_entity_not_found",
    "unique_violation",
    "foreign_key_violation",
    "idempotency_conflict",
    "stale_context",
    "claim_conflict",
    "claim_lost",
    "fence_token_stale",
    "commit_failed",
    "queue_too_deep",
]
_CLAIM: Final = [
    *_BODY,
    *_READ,
    "malformed_claim",
    "server_execute_unknown_model",
    "entity_not_found",
    "claim_not_found",
    "entity_claimed",
    "claim_conflict",
    "claim_lost",
    "forbidden",
    "queue_too_deep",
    "claim_lease_unavailable",
    "commit_failed",
]
_MINT: Final = [
    *_BODY,
    "invalid_participant_kind",
    "invalid_sync_group",
    "narrow_scope_required",
    "server_side_only",
    "forbidden",
    "wide_scope_forbidden",
    "capability_scope_denied",
    "organization_mismatch",
    "project_scope_denied",
]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `answers` are schemas by status; `errors` codes of the registry beside those of any call;
    `answer_headers` those of a success beside those of every answer.

    `path` has its parameters in braces; the model of a path stands for each model of the schema.
    """

    method: str
    path: str
    summary: str
    answers: Mapping[int, Json | None]
    errors: tuple[str, ...] = ()
    query: Mapping[str, Json] = field(default_factory=dict)
    headers: Mapping[str, Json] = field(default_factory=dict)
    body: Json | None = None
    body_required: bool = True
    answer_headers: Mapping[str, Json] = field(default_factory=dict)
    idempotent: bool = False
    public: bool = False
    media: str = "application/json"


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def object_of(
    required: Mapping[str, Json], optional: Mapping[str, Json] | None = None, *, closed: bool = False
) -> Json:
    found: Json = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        found["required"] = list(required)
    if closed:
        found["additionalProperties"] = False
    return found


def list_of(items: Json, **more: Json) -> Json:
    return object_of({"object": {"const": "list"}, "data": {"type": "array", "items": items}, **more})


_STALE: Final[Json] = {"enum": ["reject", "notify", "overwrite", None]}
GUARDS: Final[Json] = {
    "claim": {"type": ["string", "null"], "minLength": 1, "description": "Id of a claim that the caller holds."},
    "fenceToken": {"type": ["integer", "null"], "minimum": 0},
    "readAt": {
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "The stamp of what the write relies on: a newer change of the same fields makes it stale.",
    },
    "onStale": _STALE,
    "reads": {"type": ["array", "null"], "items": ref("Premise"), "maxItems": 500},
    "track": {"type": ["array", "null"], "items": ref("Tracked"), "maxItems": 500},
}
ROW_ID: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 255}
_TTL: Final[Json] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "description": "seconds"},
        {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
        {"type": "null"},
    ]
}
_CLAIM_TARGET: Final[Json] = object_of({}, {"field": TEXT, "fields": _TEXTS, "meta": _OBJECT})
_CLAIM_MEMBERS: Final[Json] = {
    "description": TEXT,
    "queue": FLAG,
    "ttl": _TTL,
    "meta": _OBJECT,
    "claimId": ROW_ID,
    "reason": TEXT,
    "preempt": {
        "type": "boolean",
        "description": "Go ahead of the line and take what is in the way from its holder, where the model is declared"
        " with preempt=True and the credential was granted claim.preempt.",
    },
}
_CLAIM_BODY: Final[Json] = object_of({}, {**_CLAIM_MEMBERS, "target": _CLAIM_TARGET})
_BEAT: Final[Json] = object_of({}, {"claimId": ROW_ID, "ttl": _TTL, "details": _OBJECT})
_VERBS: Final[Json] = {"enum": ["read", "create", "update", "delete"]}
_GRANT: Final[Json] = {
    "type": "string",
    "pattern": "^([^.\\sA-Z]+\\.(read|create|update|delete)|claim\\.preempt)$",
}
_BEHALF: Final[Json] = object_of({"kind": {"enum": ["user", "agent", "system"]}, "id": _NAME}, closed=True)
_SECONDS: Final[Json] = {"type": "integer", "minimum": 1, "maximum": 31536000}
_SESSION: Final[Json] = {
    "ttlSeconds": _SECONDS,
    "syncGroups": {"type": "array", "items": {"type": "string", "pattern": "^([a-z][a-z0-9_]*:.+|default)$"}},
    "label": {"type": "string", "maxLength": 255},
    "organizationId": _NAME,
    "onBehalfOf": _BEHALF,
}
_CAPABILITY: Final[Json] = {
    "capabilityId": _NAME,
    "expiresAt": or_null(TIME),
    "organizationId": _NAME,
    "branchRoot": FLAG,
    "scope": ref("Authority"),
}

COMPONENTS: Final[Json] = {
    "Error": {
        "description": "Any refusal. Further keys depend on the code.",
        **object_of(
            {"type": TEXT, "code": TEXT, "message": TEXT, "request_id": TEXT},
            {
                "param": TEXT,
                "errors": {"type": "array", "items": object_of({"message": TEXT}, {"code": TEXT, "param": TEXT})},
                "requiredCapability": object_of({"scope": TEXT}),
                "missingIds": _TEXTS,
                "conflicts": {"type": "array", "items": _OBJECT},
                "claims": {"type": "array", "items": _OBJECT},
            },
        ),
    },
    "Authority": object_of(
        {
            "organizationId": _NAME,
            "projectId": or_null(_NAME),
            "branchId": or_null(_NAME),
            "syncGroups": _TEXTS,
            "operations": _TEXTS,
            "participantKind": {"enum": ["user", "agent", "system"]},
            "participantId": _NAME,
            "deliveryPartition": {"type": ["object", "null"]},
        }
    ),
    "Receipt": object_of(
        {
            "object": {"const": "commit_receipt"},
            "clientTxId": TEXT,
            "serverTxId": _NAME,
            "createdAt": TIME,
            "success": {"const": True},
            "status": {"enum": ["confirmed", "queued"]},
            "statusAt": TIME,
            "lastSyncId": NATURAL,
            "ops": NATURAL,
            "authority": ref("Authority"),
        },
        {
            "id": _NAME,
            "correlationId": _NAME,
            "notifications": {"type": "array", "items": _OBJECT},
            "missingIds": {"type": "array", "items": _NAME},
        },
        closed=True,
    ),
    "Premise": object_of(
        {"readAt": NATURAL},
        {"model": _NAME, "id": ROW_ID, "group": _NAME, "fields": _TEXTS, "onStale": _STALE},
    ),
    "Tracked": object_of(
        {},
        {
            "model": _NAME,
            "id": ROW_ID,
            "group": _NAME,
            "readAt": {"type": ["integer", "null"], "minimum": 0},
            "onStale": _STALE,
        },
    ),
    "Operation": object_of(
        {"action": {"enum": ["create", "update", "delete", "archive", "unarchive"]}, "model": _NAME},
        {
            "id": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
            "data": {"type": ["object", "null"]},
            "transactionId": {"type": ["string", "null"], "minLength": 1},
            "claimId": {"type": ["string", "null"], "minLength": 1},
            "fenceToken": {"type": ["integer", "null"], "minimum": 0},
            "readAt": {"type": ["integer", "null"], "minimum": 0},
            "onStale": _STALE,
        },
        closed=True,
    ),
    "Claim": object_of(
        {
            "id": _NAME,
            "actor": _NAME,
            "participantKind": _NAME,
            "expiresAt": {"type": "integer", "description": "milliseconds since 1970"},
            "target": object_of({"model": _NAME, "id": _NAME}, {"field": TEXT, "fields": _TEXTS, "meta": _OBJECT}),
        },
        {
            "description": TEXT,
            "status": {"enum": ["active", "queued"]},
            "position": NATURAL,
            "fenceToken": {"type": "integer"},
            "onBehalfOfId": or_null(TEXT),
            "onBehalfOfKind": or_null(TEXT),
            "capabilityId": or_null(TEXT),
            "meta": _OBJECT,
        },
    ),
    "ClaimAnswer": object_of(
        {"id": _NAME, "object": {"const": "claim"}, "status": {"enum": ["active", "queued"]}},
        {
            "fenceToken": {"type": "integer"},
            "expiresAt": {"type": "integer"},
            "claim": ref("Claim"),
            "position": NATURAL,
            "heldBy": TEXT,
            "heldByClaim": _OBJECT,
        },
    ),
    "ClaimBeat": object_of(
        {"object": {"const": "claim_heartbeat"}, "claimId": _NAME, "status": {"enum": ["held", "queued"]}},
        {"expiresAt": {"type": "integer"}, "queueDepth": NATURAL, "position": NATURAL},
    ),
    "ClaimRelease": object_of({"object": {"const": "claim_release"}, "released": FLAG}),
    "CommitRecord": object_of(
        {
            "id": TEXT,
            "attempts": {"type": "array", "minItems": 1, "items": _OBJECT},
            "actor": object_of({"kind": TEXT, "id": TEXT}),
            "authority": ref("Authority"),
            "claims": {"type": "array", "items": _OBJECT},
            "createdAt": TIME,
            "status": {"enum": ["queued", "confirmed", "rejected"]},
            "statusAt": TIME,
            "lastSyncId": NATURAL,
            "readSet": {"type": "array", "items": _OBJECT},
            "operations": {"type": "array", "items": _OBJECT},
            "receipt": object_of({"clientTxId": TEXT, "serverTxId": _NAME}),
        },
        {"correlationId": TEXT},
        closed=True,
    ),
    "LogEvent": object_of(
        {
            "object": {"const": "log_event"},
            "id": NATURAL,
            "at": TIME,
            "model": TEXT,
            "op": {"enum": ["create", "update", "delete"]},
            "recordId": TEXT,
            "actor": or_null(TEXT),
        }
    ),
    "ClaimEvent": object_of(
        {
            "object": {"const": "claim_event"},
            "seq": NATURAL,
            "at": TIME,
            "claimId": TEXT,
            "status": {"enum": ["active", "queued", "committed", "expired", "canceled"]},
            "actor": TEXT,
            "target": _OBJECT,
        }
    ),
    "Capability": object_of({"token": TEXT, **_CAPABILITY, "userMeta": _OBJECT}),
    "SchemaPush": object_of(
        {"schema": _OBJECT},
        {
            "force": FLAG,
            "renames": {"type": "array", "items": _OBJECT},
            "backfills": {"type": "array", "items": _OBJECT},
        },
        closed=True,
    ),
    "Schema": object_of(
        {
            "active": FLAG,
            "environment": TEXT,
            "project": or_null(TEXT),
            "models": {"type": "array", "items": _OBJECT},
        },
        {"schemaId": TEXT, "version": NATURAL, "hash": TEXT, "pushedAt": or_null(TIME)},
    ),
    "Branch": object_of(
        {
            "object": {"const": "branch"},
            "id": TEXT,
            "project_id": TEXT,
            "parent_branch_id": {"type": "null"},
            "slug": TEXT,
            "name": TEXT,
            "kind": {"const": "long_lived"},
            "state": {"const": "ready"},
            "origin": {"const": "empty"},
            "root": {"const": True},
            "expires_at": {"type": "null"},
            "created_at": TIME,
            "deleted_at": {"type": "null"},
        }
    ),
}

_LIMIT: Final[Json] = {"type": "integer", "minimum": 1}
_HEALTH: Final[Json] = object_of(
    {
        "status": {"enum": ["healthy", "degraded"]},
        "stream": object_of(
            {
                "connected": FLAG,
                "lastSyncId": NATURAL,
                "lagBytes": NATURAL,
                "lagSeconds": {"type": "number", "minimum": 0},
                "problems": {"type": "array", "items": object_of({"model": TEXT, "problem": TEXT})},
                "slot": object_of(
                    {
                        "name": TEXT,
                        "walStatus": or_null(TEXT),
                        "retainedBytes": or_null(NATURAL),
                        "safeBytes": or_null({"type": "integer"}),
                        "failover": or_null(FLAG),
                    }
                ),
            }
        ),
        "schema": _OBJECT,
    },
    {"worker": NATURAL},
)
_BOOTSTRAP: Final[Json] = object_of(
    {"type": {"enum": ["full", "partial"]}, "lastSyncId": NATURAL, "models": _OBJECT, "timestamp": NATURAL},
    {
        "deltas": {"type": "array"},
        "deltaCount": NATURAL,
        "schemaHash": TEXT,
        "failedModels": _TEXTS,
        "nextCursor": TEXT,
    },
)

_SOURCE_STATUS: Final[Json] = {"enum": ["active", "unverified"]}
_UNSUPPORTED: Final = "datasource_connection_unsupported"
_NO_OTHER: Final = "Refused: this server connects to no other database"
_NO_WEBHOOK: Final = "Refused: this server has no webhook endpoints"
_EVENT: Final[Json] = object_of(
    {},
    {
        "event": {"enum": ["snapshot", "row", "live", "change", "bootstrap", "end"]},
        "id": {"type": "string", "description": "A cursor, where a transaction ends."},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": NATURAL,
    },
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        "GET",
        "/api/health",
        "Whether this gateway can do its work",
        {200: _HEALTH, 503: _HEALTH},
        public=True,
    ),
    Operation(
        "GET",
        "/metrics",
        "Measures of this gateway, with all its workers, for Prometheus, for callers whom the operator lets see them",
        {200: TEXT},
        media="text/plain",
        public=True,
    ),
    Operation(
        "GET",
        "/api/auth/identity",
        "Who the caller is and what it may do",
        {
            200: object_of(
                {
                    "participantKind": {"enum": ["user", "agent", "system"]},
                    "participantId": _NAME,
                    "accountScope": _NAME,
                    "projectId": or_null(_NAME),
                    "branchId": or_null(_NAME),
                    "branchRoot": FLAG,
                    "syncGroups": _TEXTS,
                    "authority": ref("Authority"),
                    "userMeta": _OBJECT,
                }
            )
        },
    ),
    Operation("GET", "/api/auth/check", "Whether the key is good", {204: None}),
    Operation("HEAD", "/api/auth/check", "Whether the key is good", {204: None}),
    Operation(
        "GET",
        "/api/v1/models/{model}",
        "List rows",
        {},  # by model
        errors=(
            *_READ,
            "model_query_failed",
            "query_invalid_boolean",
            "query_invalid_identifier",
            "query_unsupported_operator",
            "query_invalid_like_pattern",
            "invalid_body",
            "invalid_json",
        ),
        query={
            "limit": {**_LIMIT, "maximum": 5000},
            "order_by": TEXT,
            "order": {"enum": ["asc", "desc"]},
            "starting_after": {"type": "string", "description": "The next_cursor of the page before."},
            "where": {
                "type": "string",
                "contentMediaType": "application/json",
                "description": "A JSON array of [field, value] or [field, operator, value], all of which hold."
                " Operators: = != < <= > >= IN, NOT IN, IS, IS NOT, LIKE, NOT LIKE, ILIKE, NOT ILIKE.",
                "examples": ['[["title", "LIKE", "%x%"]]'],
            },
        },
    ),
    Operation(
        "POST",
        "/api/v1/models/{model}",
        "Create a row; one that exists is left as it is",
        {200: ref("Receipt")},
        errors=tuple(_WRITE),
        body={},
        idempotent=True,
        answer_headers={
            "Location": {
                "description": "The path of the row, when the request named no id.",
                "schema": {"type": "string"},
            }
        },
    ),
    Operation(
        "GET",
        "/api/v1/models/{model}/{id}",
        "Read one row; a missing one is data: null",
        {},
        errors=tuple(_READ),
        answer_headers={
            "ETag": {
                "description": "The stamp of the read, for If-Match.",
                "required": True,
                "schema": {"type": "string", "pattern": '^"[0-9]{1,18}"$'},
            }
        },
    ),
    Operation(
        "PATCH",
        "/api/v1/models/{model}/{id}",
        "Update fields of a row",
        {200: ref("Receipt")},
        errors=tuple(_WRITE),
        body={},
        idempotent=True,
    ),
    Operation(
        "DELETE",
        "/api/v1/models/{model}/{id}",
        "Delete a row",
        {200: ref("Receipt")},
        errors=tuple(_WRITE),
        body={},
        body_required=False,
        idempotent=True,
    ),
    Operation(
        "POST",
        "/api/v1/commits",
        "Commit a batch: all operations or none",
        {200: ref("Receipt")},
        errors=tuple(_WRITE),
        body=object_of(
            {},
            {
                "operations": {"type": ["array", "null"], "items": ref("Operation"), "minItems": 1, "maxItems": 500},
                "reads": {"type": ["array", "null"], "items": ref("Premise"), "maxItems": 500},
                "track": {"type": ["array", "null"], "items": ref("Tracked"), "maxItems": 500},
            },
            closed=True,
        ),
        idempotent=True,
    ),
    Operation(
        "GET",
        "/api/v1/commits",
        "Commit records, newest first",
        {
            200: object_of(
                {"data": {"type": "array", "items": ref("CommitRecord")}, "nextCursor": or_null(TEXT)}, closed=True
            )
        },
        errors=("capability_scope_denied", "capability_invalid"),
        query={
            "actorId": TEXT,
            "status": {"enum": ["queued", "confirmed", "rejected"]},
            "cursor": TEXT,
            "limit": {**_LIMIT, "maximum": 100},
        },
    ),
    Operation(
        "GET",
        "/api/v1/commits/{id}",
        "The record of a commit by its idempotency key; null when there is none",
        {200: or_null(ref("CommitRecord"))},
        errors=("capability_scope_denied", "capability_invalid"),
    ),
    Operation(
        "POST",
        "/api/v1/models/{model}/{id}/claim",
        "Take a lease on a row, or a place in line",
        {201: ref("ClaimAnswer"), 202: ref("ClaimAnswer")},
        errors=tuple(_CLAIM),
        body=_CLAIM_BODY,
        body_required=False,
    ),
    Operation(
        "DELETE",
        "/api/v1/models/{model}/{id}/claim",
        "Give back the caller's leases on a row",
        {200: ref("ClaimRelease")},
        errors=tuple(_CLAIM),
    ),
    Operation(
        "POST",
        "/api/v1/models/{model}/{id}/claim/heartbeat",
        "Keep a lease, or the place in line",
        {200: ref("ClaimBeat")},
        errors=tuple(_CLAIM),
        body=_BEAT,
        body_required=False,
    ),
    Operation(
        "POST",
        "/api/v1/models/{model}/{id}/claim/reorder",
        "Reorder the line",
        {200: object_of({"object": {"const": "claim_reorder"}, "reordered": FLAG})},
        errors=tuple(_CLAIM),
        body=object_of({"order": {"type": "array", "items": object_of({"heldBy": _NAME, "claimId": _NAME})}}),
    ),
    Operation(
        "GET",
        "/api/v1/claims",
        "Claims that the caller may see, holders first",
        {200: list_of(ref("Claim"))},
        errors=tuple(_CLAIM),
        query={
            **dict.fromkeys(("model", "id", "field", "actorId", "actorKind", "onBehalfOfId", "capabilityId"), TEXT),
            "limit": {**_LIMIT, "maximum": 1000},
            "starting_after": TEXT,
        },
    ),
    Operation(
        "POST",
        "/api/v1/claims",
        "Take a lease on the row that the body names",
        {201: ref("ClaimAnswer"), 202: ref("ClaimAnswer")},
        errors=tuple(_CLAIM),
        body=object_of(
            {"target": object_of({"model": _NAME, "id": ROW_ID}, {"field": TEXT, "fields": _TEXTS, "meta": _OBJECT})},
            _CLAIM_MEMBERS,
        ),
    ),
    Operation(
        "POST",
        "/api/v1/claims/heartbeat",
        "Keep everything that the caller holds or waits for",
        {
            200: object_of(
                {
                    "object": {"const": "list"},
                    "results": {
                        "type": "array",
                        "items": object_of({"claimId": _NAME, "status": {"enum": ["held", "queued", "lost"]}}),
                    },
                }
            )
        },
        errors=tuple(_CLAIM),
        body=object_of({}, {"ttl": _TTL}),
        body_required=False,
    ),
    Operation(
        "GET",
        "/api/v1/claims/{id}",
        "What became of a claim of the caller's",
        {
            200: object_of(
                {
                    "id": _NAME,
                    "object": {"const": "claim"},
                    "status": {"enum": ["active", "queued", "committed", "expired", "canceled"]},
                },
                {"position": NATURAL, "expiresAt": {"type": "integer"}, "fenceToken": {"type": "integer"}},
            )
        },
        errors=tuple(_CLAIM),
    ),
    Operation("DELETE", "/api/v1/claims/{id}", "Give back a claim", {200: ref("ClaimRelease")}, errors=tuple(_CLAIM)),
    Operation(
        "POST",
        "/api/v1/claims/{id}/heartbeat",
        "Keep a claim",
        {200: ref("ClaimBeat")},
        errors=tuple(_CLAIM),
        body=object_of({}, {"ttl": _TTL, "details": _OBJECT}),
        body_required=False,
    ),
    Operation(
        "GET",
        "/api/v1/logs",
        "What happened to rows and to claims",
        {200: list_of({"anyOf": [ref("LogEvent"), ref("ClaimEvent")]}, has_more=FLAG, next_cursor={"type": "string"})},
        errors=("unknown_model", "server_execute_unknown_model", "capability_scope_denied", "capability_invalid"),
        query={
            "after": {"type": "string", "pattern": "^[0-9]{1,18}(\\.[0-9]{1,18})?$"},
            "limit": {**_LIMIT, "maximum": 1000},
            "model": TEXT,
            "op": {
                "enum": ["create", "update", "delete", "archive", "revive", "visible", "group_added", "group_removed"]
            },
            "since": {
                "type": "string",
                "description": "An ISO 8601 time, milliseconds since 1970, or 15m, 2h, 7d ago.",
            },
        },
    ),
    Operation(
        "POST",
        "/api/v1/capabilities",
        "Mint a session of an agent or a program, with a secret key",
        {201: ref("Capability")},
        errors=tuple(_MINT),
        body=object_of(
            {"participantKind": {"enum": ["agent", "system"]}},
            {
                "participantId": ROW_ID,
                "operations": {"type": "array", "items": _GRANT},
                "wideScope": FLAG,
                "userMeta": _OBJECT,
                **_SESSION,
            },
            closed=True,
        ),
    ),
    Operation(
        "GET",
        "/api/v1/capabilities/{id}",
        "A credential of the organization, without its key",
        {200: object_of({**_CAPABILITY, "keyKind": TEXT, "status": {"enum": ["active", "expired", "revoked"]}})},
        errors=("capability_not_found",),
    ),
    Operation(
        "DELETE",
        "/api/v1/capabilities/{id}",
        "Revoke a credential and close its live sessions",
        {200: object_of({"id": _NAME, "deleted": {"const": True}, "activeSessionsClosed": NATURAL}, closed=True)},
        errors=("capability_not_found", "server_side_only", "forbidden"),
    ),
    Operation(
        "POST",
        "/api/v1/capabilities/{id}/rotate",
        "Replace a credential; the old one lives on for a while",
        {
            201: object_of(
                {"token": TEXT, **_CAPABILITY, "rotatedFrom": object_of({"capabilityId": _NAME, "expiresAt": TIME})}
            )
        },
        errors=(
            *_BODY,
            "capability_not_found",
            "server_side_only",
            "forbidden",
            "capability_invalid",
            "apikey_revoked",
            "apikey_expired",
        ),
        body=object_of(
            {},
            {"graceSeconds": {"type": "integer", "minimum": 0, "maximum": 2592000}, "ttlSeconds": _SECONDS},
            closed=True,
        ),
        body_required=False,
    ),
    Operation(
        "POST",
        "/api/v1/ephemeral_keys",
        "Mint a session of a user, with a secret key",
        {
            201: object_of(
                {
                    "object": {"const": "ephemeral_key"},
                    "id": _NAME,
                    "token": TEXT,
                    "expiresAt": TIME,
                    "organizationId": _NAME,
                    "participantId": _NAME,
                    "syncGroups": _TEXTS,
                    "operations": _TEXTS,
                }
            )
        },
        errors=tuple(_MINT),
        body=object_of(
            {"user": object_of({"id": ROW_ID}, {"teamIds": _TEXTS}, closed=True)},
            {
                "operations": {"type": "array", "items": _GRANT, "minItems": 1},
                "activeSchemaOperations": {"type": "array", "items": _VERBS, "minItems": 1},
                "controlPlaneOnly": FLAG,
                "schemaProjectId": TEXT,
                "schemaOwnerOrgId": TEXT,
                **_SESSION,
            },
            closed=True,
        ),
    ),
    Operation("GET", "/api/schema", "The active schema", {200: ref("Schema")}),
    Operation("GET", "/api/v1/schema", "The active schema", {200: ref("Schema")}),
    Operation(
        "POST",
        "/api/schema",
        "Propose a schema",
        {
            200: object_of(
                {"version": NATURAL, "hash": TEXT},
                {"unchanged": FLAG, "warnings": _TEXTS, "provisioningDeferred": FLAG, "publication": _OBJECT},
            )
        },
        errors=(
            *_BODY,
            "invalid_schema",
            *sorted(code for code in CODES if code.startswith("schema_") and CODES[code].status == 400),
            "schema_too_large",
            "incompatible_change",
            "model_not_provisioned",
            "forbidden",
            "schema_provisioning_forbidden",
            "migration_failed",
        ),
        body=ref("SchemaPush"),
    ),
    Operation(
        "GET",
        "/api/v1/projects",
        "The one project",
        {
            200: list_of(
                object_of({"object": {"const": "project"}, "id": TEXT, "slug": TEXT, "name": TEXT, "default": FLAG})
            )
        },
    ),
    Operation("POST", "/api/v1/projects", "Refused: there is one project", {}, errors=("forbidden",)),
    Operation("GET", "/api/v1/branches", "The one branch", {200: list_of(ref("Branch"))}),
    Operation("POST", "/api/v1/branches", "Refused: there is one branch", {}, errors=("forbidden",)),
    Operation("GET", "/api/v1/branches/{id}", "A branch", {200: ref("Branch")}, errors=("branch_scope_denied",)),
    Operation("DELETE", "/api/v1/branches/{id}", "Refused: there is one branch", {}, errors=("forbidden",)),
    Operation(
        "GET",
        "/api/v1/branches/{id}/status",
        "Whether a branch is ready",
        {
            200: object_of(
                {
                    "object": {"const": "branch_status"},
                    "branch": ref("Branch"),
                    "ready": FLAG,
                    "schema": object_of({"active": FLAG, "version": or_null(NATURAL), "hash": or_null(TEXT)}),
                    "data_source": object_of({"kind": {"const": "direct"}, "status": _SOURCE_STATUS, "database": TEXT}),
                    "blockers": {"type": "array", "items": object_of({"code": TEXT, "problem": TEXT, "fix": TEXT})},
                },
                closed=True,
            )
        },
        errors=("branch_scope_denied",),
    ),
    Operation(
        "POST",
        "/api/v1/branches/{id}/credentials",
        "Refused: keys are made by an administrator",
        {},
        errors=("branch_scope_denied", "forbidden"),
    ),
    *(
        operation
        for prefix in ("/api", "")  # the contract's CLI asks for these without, too
        for operation in (
            Operation(
                "GET",
                f"{prefix}/v1/datasources",
                "The one data source: this database",
                {
                    200: list_of(
                        object_of(
                            {
                                "object": {"const": "datasource"},
                                "id": TEXT,
                                "connection": {"const": "direct"},
                                "database": TEXT,
                                "status": _SOURCE_STATUS,
                            }
                        )
                    )
                },
            ),
            Operation("POST", f"{prefix}/v1/datasources", _NO_OTHER, {}, errors=(_UNSUPPORTED,)),
            Operation("DELETE", f"{prefix}/v1/datasources", _NO_OTHER, {}, errors=(_UNSUPPORTED,)),
            Operation(
                "GET",
                f"{prefix}/v1/source/listen",
                "Refused: there is nothing for a connector to serve",
                {},
                errors=("source_connector_no_source_registered",),
            ),
        )
    ),
    Operation(
        "POST",
        "/api/source/events",
        "Refused: changes are read from this database's log",
        {},
        errors=("no_data_source_registered",),
    ),
    Operation(
        "POST",
        "/api/v1/datasources/validate",
        "Whether writes reach this database and their changes come back",
        {
            200: object_of(
                {
                    "object": {"const": "datasource_validation"},
                    "connection": {"const": "direct"},
                    "reachable": FLAG,
                    "ready": FLAG,
                    "failures": {
                        "type": "array",
                        "items": object_of({"item": TEXT, "fix": TEXT}, {"actual": TEXT}),
                    },
                }
            )
        },
        errors=(*_BODY, _UNSUPPORTED),
        body=object_of({}),
        body_required=False,
    ),
    Operation("POST", "/api/v1/datasources/locate", _NO_OTHER, {}, errors=(_UNSUPPORTED,)),
    Operation("POST", "/api/v1/datasources/resnapshot", _NO_OTHER, {}, errors=(_UNSUPPORTED,)),
    Operation(
        "GET",
        "/api/v1/webhook_endpoints",
        "None: this server calls no webhooks",
        {
            200: list_of(
                _OBJECT,
                has_more={"const": False},
                next_cursor={"type": "null"},
            )
        },
    ),
    Operation(
        "POST",
        "/api/v1/webhook_endpoints",
        "Refused: this server calls no webhooks",
        {},
        errors=("forbidden",),
    ),
    *(
        Operation(method, f"/api/v1/webhook_endpoints/{{id}}{action}", _NO_WEBHOOK, {}, errors=("entity_not_found",))
        for method, action in (("GET", ""), ("DELETE", ""), ("POST", "/enable"), ("POST", "/roll_secret"))
    ),
    Operation(
        "GET",
        "/api/sync/bootstrap",
        "All rows that the caller may see, or the changes since a sync id",
        {200: _BOOTSTRAP},
        errors=("invalid_sync_group", "capability_scope_denied", "capability_invalid"),
        query={
            "syncGroups": {"type": "array", "items": TEXT},
            "models": {"type": "string", "description": "Typenames, separated by commas."},
            "lastSyncId": NATURAL,
            "limit": {**_LIMIT, "maximum": 20000},
            "cursor": TEXT,
        },
    ),
    Operation(
        "POST",
        "/api/sync/query",
        "Several lists in one snapshot, with related rows",
        {
            200: object_of(
                {
                    "results": {"type": "array", "items": {"type": "array", "items": _OBJECT}},
                    "evidence": {
                        "type": "array",
                        "items": {"type": "array", "items": object_of({"id": TEXT, "stamp": NATURAL})},
                    },
                    "lastSyncId": NATURAL,
                },
                {"errors": {"type": "array", "items": object_of({"index": NATURAL, "code": TEXT, "message": TEXT})}},
            )
        },
        errors=(*_BODY, "queries_required", "model_query_failed", "query_invalid_identifier"),
        body=object_of(
            {
                "queries": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 50,
                    "items": object_of(
                        {"model": _NAME},
                        {
                            "where": {"type": ["array", "null"]},
                            "related": {"type": ["array", "null"], "items": TEXT, "maxItems": 20},
                            "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 5000},
                            "orderBy": {"type": ["string", "null"]},
                            "order": {"enum": ["asc", "desc", None]},
                        },
                        closed=True,
                    ),
                }
            }
        ),
    ),
    Operation(
        "GET",
        "/api/sync/entity/{model}/{id}",
        "One row by itself",
        {},
        errors=(*_READ, "entity_not_found"),
        answer_headers={"ETag": {"schema": TEXT, "description": "The stamp of the read."}},
    ),
    Operation(
        "GET",
        "/api/v1/changes",
        "Follow changes as server-sent events",
        {200: _EVENT},
        media="text/event-stream",
        errors=(
            *_READ,
            "invalid_sync_group",
            "model_query_failed",
            "query_invalid_boolean",
            "query_invalid_identifier",
            "query_unsupported_operator",
            "connection_limit_exceeded",
        ),
        query={
            "models": {"type": "string", "description": "Models, separated by commas; all when there is none."},
            "groups": {
                "type": "string",
                "description": "Sync groups, separated by commas; the key's when there is none.",
            },
            "where": {
                "type": "string",
                "contentMediaType": "application/json",
                "description": "Conditions as of a list. For several models an object: {model: [..]}.",
                "examples": ['[["status", "=", "todo"]]'],
            },
            "cursor": {"type": "string", "description": "Where to go on, in place of the header Last-Event-ID."},
            "snapshot": {"enum": ["0", "1"], "description": "1: begin with the rows."},
            "follow": {"enum": ["0", "1"], "description": "0: end when everything up to now has been sent."},
        },
        headers={"Last-Event-ID": {"type": "string", "description": "The id of the last event that was received."}},
    ),
    Operation("GET", "/api/v1/openapi.json", "This document", {200: _OBJECT}),
)
