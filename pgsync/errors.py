"""Every error that pgsync answers with: its code, HTTP status, whether a retry can help, its SQLSTATEs.

Codes are the wire contract's and closed: what is not in `CODES` does not travel. Told apart by code, class or SQLSTATE,
never by text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import psycopg

_STATUSES: Final[Mapping[tuple[int, bool], str]] = {  # (status, whether a retry can help): codes
    (400, False): """
        better_auth_request_failed capability_id_required check_violation claim_id_required column_type_mismatch
        commit_operation_action_required commit_operation_invalid commit_operation_model_required
        commit_operation_required commit_operation_unsupported commit_operations_ambiguous commit_too_many_operations
        constraint_violation data_session_unsupported database_loopback_requires_connector
        database_not_replication_ready database_unreachable datasource_connection_unsupported events_required
        idempotency_key_too_long ingest_failed invalid_body invalid_id invalid_input invalid_json invalid_model
        invalid_participant_kind invalid_request invalid_schema invalid_sync_group malformed_claim
        malformed_subscription mesh_message_invalid_input model_identifier_missing model_not_tenant_scoped
        model_query_failed model_required_field_missing mutate_create_unknown_model narrow_scope_required
        no_active_organization not_null_violation org_id_required position_missing_parent position_unknown_sibling
        presence_identity_required queries_required query_invalid_boolean query_invalid_identifier
        query_invalid_like_pattern query_unknown_relation query_unsupported_operator replication_publication_drift
        schema_field_consecutive_caps schema_field_not_camelcase schema_grants_identifier_unsafe
        schema_grants_relation_kind schema_grants_relation_missing schema_grants_shape_invalid
        schema_grants_target_not_scope_root schema_mutable_missing_meta schema_scope_kind_invalid
        server_execute_unknown_model snapshot_reserved_key source_connector_localhost_required
        source_connector_protocol_error source_event_invalid source_tenancy_not_enforced task_id_required
        tenant_model_columns_unknown tenant_model_missing_organization_id unknown_auth_host unknown_model
        upload_fields_required upload_items_required usage_invalid user_scope_not_enforced validation_failed
    """,
    (401, False): """
        api_key_required apikey_expired apikey_invalid apikey_missing apikey_revoked auth_no_credentials
        capability_id_missing capability_required exchange_failed file_upload_auth_required
        identity_missing_organization identity_resolve_failed jwt_audience_mismatch jwt_expired jwt_invalid
        jwt_issuer_untrusted jwt_malformed jwt_missing_issuer jwt_missing_organization jwt_missing_subject
        jwt_signature_invalid session_expired source_api_key_unresolved source_connector_unauthenticated
    """,
    (403, False): """
        branch_scope_denied byo_host_not_allowed byo_role_cannot_enforce_rls byo_role_unreadable
        byo_tenant_tables_unforced_rls capability_invalid capability_scope_denied database_host_not_allowed
        database_role_cannot_enforce_rls database_role_unreadable database_tables_unforced_rls forbidden
        issuer_register_forbidden jwt_org_membership_denied mesh_message_from_id_spoof mesh_message_from_kind_mismatch
        organization_mismatch permission_denied project_scope_denied schema_provisioning_forbidden server_side_only
        source_connector_production_not_enabled source_connector_requires_secret_key wide_scope_forbidden
    """,
    (404, False): """
        capability_not_found claim_not_found entity_not_found invalid_mutator model_not_found
        mutate_update_entity_not_found no_data_source_registered source_connector_no_source_registered
    """,
    (409, False): """
        claim_conflict claim_lost database_already_connected entity_claimed fence_token_stale foreign_key_violation
        idempotency_conflict idempotency_key_expired incompatible_change model_claimed model_claimed_timeout
        model_not_provisioned project_slug_taken replication_reset_required source_transport_pinned stale_context
        unique_violation
    """,
    (409, True): """
        claim_queued claim_wait_aborted
    """,
    (413, False): """
        request_too_large schema_too_large
    """,
    (422, False): """
        agent_perception_missing_context
    """,
    (426, False): """
        protocol_version_unsupported
    """,
    (429, True): """
        connection_limit_exceeded quota_exceeded rate_limit_exceeded
    """,
    (500, False): """
        capability_rotation_unavailable migration_failed query_relation_target_unknown schema_scope_invalid
        schema_table_invalid
    """,
    (500, True): """
        better_auth_upstream_failed commit_failed entity_fetch_failed internal_error presigned_url_failed
        source_connector_handler_error source_connector_internal_error tenant_routing_failed
    """,
    (502, False): """
        malformed_response
    """,
    (502, True): """
        bootstrap_response_invalid bootstrap_response_schema_invalid exchange_malformed_response mint_failed
        source_connector_send_failed source_request_failed task_id_missing
    """,
    (503, False): """
        bootstrap_offline_no_cache capability_auth_disabled commit_offline_grace_expired
        connected_database_unreachable data_source_blocked provisioner_unavailable upload_not_configured
    """,
    (503, True): """
        bootstrap_offline claim_lease_unavailable delivery_partition_mismatch exchange_network_error
        identity_network_error instance_at_capacity queue_too_deep quota_lookup_failed rate_limiter_unavailable
        session_check_failed source_connector_disconnected source_connector_not_attached source_connector_shutdown
        source_connector_superseded source_network_error source_unreachable
    """,
    (504, True): """
        bootstrap_fetch_timeout commit_no_result flush_timeout grant_timeout replication_lag_timeout
        source_connector_timeout wait_for_timeout
    """,
}

_TYPES_BY_CODE: Final[Mapping[str, str]] = {
    "capability_scope_denied": "AbloPermissionError",
    "capability_invalid": "AbloPermissionError",
    "claim_conflict": "AbloClaimedError",
    "entity_claimed": "AbloClaimedError",
    "claim_lost": "AbloClaimedError",
    "stale_context": "AbloStaleContextError",
    "connected_database_unreachable": "AbloConnectionError",
}
_TYPES_BY_STATUS: Final[Mapping[int, str]] = {
    400: "AbloValidationError",
    401: "AbloAuthenticationError",
    403: "AbloPermissionError",
    409: "AbloIdempotencyError",
    422: "AbloValidationError",
    429: "AbloRateLimitError",
}


@dataclass(frozen=True, slots=True)
class Code:
    """One code of the contract. `type` is the class that clients of the contract make of it (contract 1.13)."""

    name: str
    status: int
    retryable: bool
    type: str


def _type_of(name: str, status: int) -> str:
    if name in _TYPES_BY_CODE:
        return _TYPES_BY_CODE[name]
    return _TYPES_BY_STATUS.get(status, "AbloServerError" if status >= 500 else "AbloError")


CODES: Final[Mapping[str, Code]] = MappingProxyType(
    {
        name: Code(name, status, retryable, _type_of(name, status))
        for (status, retryable), names in _STATUSES.items()
        for name in names.split()
    }
)

# SQLSTATEs that our SQL raises: PS, a group (1 request, 2 schema, 3 access, 4 conflict, 5 stream, 9 ours), two digits.
OUR_SQLSTATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PS101": "invalid_body",
        "PS102": "server_execute_unknown_model",
        "PS103": "model_required_field_missing",
        "PS104": "invalid_body",  # a field that the model does not have
        "PS105": "column_type_mismatch",
        "PS106": "invalid_id",
        "PS107": "commit_operation_invalid",
        "PS108": "commit_operation_required",
        "PS109": "commit_too_many_operations",
        "PS110": "mutate_create_unknown_model",
        "PS111": "commit_operation_unsupported",
        "PS112": "commit_operation_action_required",
        "PS113": "commit_operation_model_required",
        "PS201": "invalid_schema",
        "PS202": "incompatible_change",
        "PS203": "model_not_provisioned",  # its row security is gone
        "PS301": "capability_scope_denied",
        "PS302": "capability_invalid",
        "PS303": "organization_mismatch",
        "PS304": "apikey_invalid",
        "PS305": "forbidden",
        "PS401": "claim_conflict",
        "PS402": "stale_context",
        "PS403": "idempotency_conflict",
        "PS404": "fence_token_stale",
        "PS405": "claim_lost",
        "PS406": "mutate_update_entity_not_found",
        "PS407": "foreign_key_violation",  # a reference to a row that the tenant does not have
        "PS408": "claim_not_found",
        "PS409": "entity_claimed",
        "PS410": "validation_failed",  # a trigger or rule of the customer's kept the row from being written
        "PS501": "internal_error",  # two listeners counted differently
        "PS901": "internal_error",
    }
)

# Postgres's own, by SQLSTATE or by its class (first two characters): https://www.postgresql.org/docs/current/errcodes-appendix.html
POSTGRES_SQLSTATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "08": "connected_database_unreachable",
        "22": "invalid_input",
        "22001": "column_type_mismatch",  # longer than the column
        "22003": "column_type_mismatch",  # a number out of the column's range
        "22007": "column_type_mismatch",  # no such date or time
        "22008": "column_type_mismatch",
        "22021": "column_type_mismatch",  # bytes that are no text
        "22023": "column_type_mismatch",
        "22030": "column_type_mismatch",
        "22032": "column_type_mismatch",
        "22P02": "column_type_mismatch",  # text that the type does not read
        "22P03": "column_type_mismatch",
        "22P05": "column_type_mismatch",  # \u0000, which Postgres text cannot hold
        "23": "constraint_violation",
        "23502": "not_null_violation",
        "23503": "foreign_key_violation",
        "23505": "unique_violation",
        "23514": "check_violation",
        "25006": "connected_database_unreachable",  # a standby
        "28": "connected_database_unreachable",
        "3D000": "connected_database_unreachable",
        "3F000": "model_not_provisioned",
        "428C9": "invalid_id",  # GENERATED ALWAYS AS IDENTITY
        "40": "commit_failed",  # serialization failure, deadlock: nothing was written
        "42501": "forbidden",
        "42703": "model_not_provisioned",
        "42804": "column_type_mismatch",
        "42883": "model_not_provisioned",
        "42P01": "model_not_provisioned",
        "44": "check_violation",  # WITH CHECK OPTION of a view
        "53": "instance_at_capacity",
        "54": "invalid_input",  # too big for an index, too deep
        "55P03": "commit_failed",  # lock_timeout
        "57014": "wait_for_timeout",  # statement_timeout
        "57P": "connected_database_unreachable",
        "P0001": "validation_failed",  # RAISE in the customer's own trigger
    }
)

# Whose message says what the writer did wrong. Other messages of Postgres are for the operator, in the log.
_EXPLAINED: Final = frozenset({"22", "23", "44", "PS", "P0"})
_UNEXPLAINED: Final[Mapping[str, str]] = {
    "commit_failed": "the database could not apply this now and wrote nothing: send it again",
    "connected_database_unreachable": "the database refuses connections or does not answer",
    "forbidden": "the database role may not do this",
    "invalid_id": "the database gives the rows of this model their ids: leave the id out",
    "instance_at_capacity": "the database has no room for more work now",
    "invalid_input": "a value is larger than the database can handle",
    "column_type_mismatch": "a value does not fit the type of its column",
    "model_not_provisioned": "the database lacks a table or function of this model: run `pgsync push`",
    "wait_for_timeout": "the database took too long and wrote nothing",
}
_INTERNAL: Final = "something went wrong on the server, which has logged it under this request id"
_RESERVED: Final = frozenset({"type", "code", "message", "param", "request_id"})


class PgsyncError(Exception):
    """An error with a code of the contract, as it is answered over HTTP and WebSocket.

    `param` is the field, header or parameter at fault, in the caller's spelling. `details` are the further top-level
    keys of the answer, such as `conflicts` or `requiredCapability`. A code that is not the contract's raises KeyError.
    """

    def __init__(
        self, code: str, message: str, *, param: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self._code = CODES[code]
        self.message = message
        self.param = param
        self.details: Mapping[str, Any] = dict(details or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.message!r})"

    @property
    def code(self) -> str:
        """The contract's code."""
        return self._code.name

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return self._code.status

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later."""
        return self._code.retryable

    @property
    def type(self) -> str:
        """The class name that clients of the contract give it."""
        return self._code.type

    @classmethod
    def of_refusal(cls, error: Mapping[str, Any]) -> PgsyncError:
        """The `error` object of a commit that SQL refused by rule: code and message, `param` and further details."""
        return cls(
            error["code"],
            error["message"],
            param=error.get("param"),
            details={name: value for name, value in error.items() if name not in _RESERVED},
        )

    @classmethod
    def of_database(cls, error: psycopg.Error) -> PgsyncError:
        """What an error of Postgres means to the caller; `param` is the column when Postgres names one.

        The message is Postgres's own where it explains what the caller did, and ours where it would show our insides.
        Raise it `from error`.
        """
        return cls.of_diagnostic(
            error.sqlstate or "08006",
            message=error.diag.message_primary or "",
            detail=error.diag.message_detail,
            hint=error.diag.message_hint,
            table=error.diag.table_name,
            column=error.diag.column_name,
            constraint=error.diag.constraint_name,
        )

    @classmethod
    def of_diagnostic(
        cls,
        sqlstate: str,
        message: str,
        *,
        detail: str | None = None,
        hint: str | None = None,
        table: str | None = None,
        column: str | None = None,
        constraint: str | None = None,
    ) -> PgsyncError:
        """As `of_database`, from the parts of Postgres's message. A DETAIL of ours may be a JSON object of details."""
        code = code_of_sqlstate(sqlstate)
        if code == "internal_error":
            return cls(code, _INTERNAL)
        details: dict[str, Any] = {}
        if sqlstate[:2] not in _EXPLAINED:
            message = _UNEXPLAINED[code]
        elif sqlstate.startswith("PS"):
            details = _details_of(detail)
            if hint is not None:
                details.setdefault("hint", hint)
        else:
            named = {"table": table, "column": column, "constraint": constraint}
            details = {name: value for name, value in named.items() if value}
        param = details.pop("param", None) or column
        return cls(code, message, param=param, details=details)


def code_of_sqlstate(sqlstate: str) -> str:
    """The contract's code for a SQLSTATE: by the SQLSTATE itself, then by its class, else `internal_error`."""
    if sqlstate in OUR_SQLSTATES:
        return OUR_SQLSTATES[sqlstate]
    for length in (5, 3, 2):
        if sqlstate[:length] in POSTGRES_SQLSTATES:
            return POSTGRES_SQLSTATES[sqlstate[:length]]
    return "internal_error"


def envelope(error: PgsyncError, *, request_id: str | None = None) -> dict[str, Any]:
    """The JSON object that an HTTP request is answered with (contract 1.13): details lie at the top level."""
    body: dict[str, Any] = {"type": error.type, "code": error.code, "message": error.message}
    if error.param is not None:
        body["param"] = error.param
    if request_id is not None:
        body["request_id"] = request_id
    return body | {name: value for name, value in error.details.items() if name not in _RESERVED}


def _details_of(detail: str | None) -> dict[str, Any]:
    if not detail:
        return {}
    if re.match(r"\s*\{", detail):
        try:
            parsed = json.loads(detail)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
    return {"detail": detail}
