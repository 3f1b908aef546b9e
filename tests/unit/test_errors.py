"""Every code and SQLSTATE leads to one answer, and nothing of our insides is in it."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors as pg_errors

from pgsync.errors import CODES, OUR_SQLSTATES, POSTGRES_SQLSTATES, PgsyncError, code_of_sqlstate, envelope

SQL = Path(__file__).parents[2] / "sql"
POSTGRES_CODES = sorted(
    {
        value.sqlstate
        for value in vars(pg_errors).values()
        if isinstance(value, type) and issubclass(value, psycopg.Error) and value.sqlstate
    }
)


def test_all_codes_of_the_contract_are_registered() -> None:
    assert len(CODES) == 210
    assert all(re.fullmatch(r"[a-z_]+", code.name) for code in CODES.values())


@pytest.mark.parametrize(
    ("code", "status", "kind", "retryable"),
    [
        ("invalid_body", 400, "AbloValidationError", False),
        ("apikey_invalid", 401, "AbloAuthenticationError", False),
        ("capability_scope_denied", 403, "AbloPermissionError", False),
        ("mutate_update_entity_not_found", 404, "AbloError", False),
        ("stale_context", 409, "AbloStaleContextError", False),
        ("claim_conflict", 409, "AbloClaimedError", False),
        ("unique_violation", 409, "AbloIdempotencyError", False),
        ("request_too_large", 413, "AbloError", False),
        ("rate_limit_exceeded", 429, "AbloRateLimitError", True),
        ("connected_database_unreachable", 503, "AbloConnectionError", False),
        ("commit_no_result", 504, "AbloServerError", True),
    ],
)
def test_a_code_has_the_status_and_type_of_the_contract(code: str, status: int, kind: str, retryable: bool) -> None:
    error = PgsyncError(code, "said plainly")
    assert (error.status, error.type, error.retryable) == (status, kind, retryable)


def test_every_sqlstate_leads_to_a_code() -> None:
    assert {*OUR_SQLSTATES.values(), *POSTGRES_SQLSTATES.values()} <= set(CODES)


def test_our_sqlstates_are_in_a_group_that_exists() -> None:
    assert all(re.fullmatch(r"PS[123459]\d\d", sqlstate) for sqlstate in OUR_SQLSTATES)


def test_sqlstates_of_postgres_exist() -> None:
    for sqlstate in POSTGRES_SQLSTATES:
        assert any(known.startswith(sqlstate) for known in POSTGRES_CODES), sqlstate


def test_our_sql_raises_only_registered_sqlstates() -> None:
    raised = {
        (path.name, sqlstate)
        for path in SQL.rglob("*.sql")
        for sqlstate in re.findall(r"'(PS[0-9A-Z]{3})'", path.read_text())
    }
    assert {entry for entry in raised if entry[1] not in OUR_SQLSTATES} == set()


def test_our_sql_refuses_only_with_codes_of_the_contract() -> None:
    refused = {
        (path.name, code)
        for path in SQL.rglob("*.sql")
        for code in re.findall(r"refusal\(\s*'([^']+)'", path.read_text())
    }
    assert {entry for entry in refused if entry[1] not in CODES} == set()


@pytest.mark.parametrize("sqlstate", POSTGRES_CODES)
def test_every_error_of_postgres_becomes_an_answer(sqlstate: str) -> None:
    error = PgsyncError.of_diagnostic(sqlstate, "SELECT secret FROM somewhere")
    assert error.message
    if error.status >= 500:
        assert "secret" not in error.message
    if sqlstate.startswith(("22", "23")):
        assert error.status in (400, 409), "the writer's data is at fault, not the server"


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("23505", "unique_violation"),
        ("23P01", "constraint_violation"),
        ("22P02", "column_type_mismatch"),
        ("22012", "invalid_input"),
        ("40P01", "commit_failed"),
        ("57P01", "connected_database_unreachable"),
        ("53300", "instance_at_capacity"),
        ("PS402", "stale_context"),
        ("XX000", "internal_error"),
        ("PS999", "internal_error"),
    ],
)
def test_a_sqlstate_is_found_by_itself_then_by_its_class(sqlstate: str, code: str) -> None:
    assert code_of_sqlstate(sqlstate) == code


def test_a_constraint_error_names_constraint_and_column_but_not_the_values() -> None:
    error = PgsyncError.of_diagnostic(
        "23502",
        'null value in column "title" violates not-null constraint',
        detail="Failing row contains (1, secret).",
        table="task",
        column="title",
    )
    body = envelope(error, request_id="req_1")
    assert body["param"] == "title"
    assert body["table"] == "task"
    assert "secret" not in str(body)


def test_details_that_our_sql_gives_as_json_lie_at_the_top_level() -> None:
    error = PgsyncError.of_diagnostic(
        "PS103", "title is missing", detail='{"param": "title", "model": "tasks"}', hint="Send title."
    )
    assert envelope(error, request_id="req_1") == {
        "type": "AbloValidationError",
        "code": "model_required_field_missing",
        "message": "title is missing",
        "param": "title",
        "request_id": "req_1",
        "model": "tasks",
        "hint": "Send title.",
    }


def test_a_refusal_keeps_its_details() -> None:
    error = PgsyncError.of_refusal({"code": "stale_context", "message": "changed", "conflicts": [{"id": "1"}]})
    assert error.details == {"conflicts": [{"id": "1"}]}


@given(
    st.dictionaries(st.text(max_size=12) | st.sampled_from(["type", "code", "message", "request_id"]), st.integers())
)
def test_details_never_replace_what_the_error_is(details: dict[str, int]) -> None:
    body = envelope(PgsyncError("invalid_id", "no", details=details), request_id="req_1")
    assert (body["type"], body["code"], body["message"], body["request_id"]) == (
        "AbloValidationError",
        "invalid_id",
        "no",
        "req_1",
    )


def test_a_code_outside_the_contract_is_refused() -> None:
    with pytest.raises(KeyError):
        PgsyncError("made_up", "no")
