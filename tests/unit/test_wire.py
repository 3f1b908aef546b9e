"""Shapes of the contract: what is taken, what is refused and where, and that answers are strict."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync import wire
from pgsync.errors import PgsyncError

CREDENTIAL: dict[str, Any] = {
    "capabilityId": "cap_1",
    "keyKind": "sk",
    "organizationId": "acme",
    "projectId": "default",
    "branchId": "main",
    "branchRoot": True,
    "participantKind": "system",
    "participantId": "ci",
    "syncGroups": ["org:acme", "system:ci"],
    "operations": [],
    "userMeta": {},
    "onBehalfOf": None,
    "expiresAt": None,
    "status": "active",
}
AUTHORITY = orjson.dumps(wire.authority(CREDENTIAL))

RECEIPT_KEYS = {
    "object",
    "id",
    "clientTxId",
    "serverTxId",
    "createdAt",
    "success",
    "status",
    "statusAt",
    "lastSyncId",
    "ops",
    "authority",
    "correlationId",
    "notifications",
    "missingIds",
}


def refused(call: Any, *arguments: Any) -> tuple[str, str | None]:
    with pytest.raises(PgsyncError) as caught:
        call(*arguments)
    return caught.value.code, caught.value.param


def receipt(**given: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "client_tx_id": "order-17",
        "server_tx_id": "731-0",
        "created_at": "2026-01-02T03:04:05.678Z",
        "last_sync_id": 4,
        "ops": 1,
        "authority_json": AUTHORITY,
    }
    parsed = orjson.loads(wire.receipt(**(values | given)))
    assert isinstance(parsed, dict)
    return parsed


# --- bodies of single-row writes ---------------------------------------------------------------------------------


def test_write_body_of_the_client_is_taken_whole() -> None:
    raw = b'{"data":{"n":1},"onStale":"reject","readAt":4,"claim":null,"fenceToken":null,"reads":null,"track":null}'
    body = wire.parse_write(raw)
    assert body.raw == raw
    assert body.read_ats == (4,)


def test_absent_body_is_an_empty_object() -> None:
    assert wire.parse_write(b"").raw == b"{}"


@pytest.mark.parametrize(
    ("raw", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"\xff", "invalid_json", None),
        (b'{"data":{"a":NaN}}', "invalid_json", None),
        (b"[]", "invalid_body", None),
        (b'"x"', "invalid_body", None),
        (b'{"title":"x"}', "invalid_body", "title"),
        (b'{"data":[]}', "invalid_body", "data"),
        (b'{"data":{"a":{"b":["\\u0000"]}}}', "invalid_body", "data.a.b[0]"),
        (b'{"id":""}', "invalid_id", "id"),
        (b'{"id":1.5}', "invalid_id", "id"),
        (b'{"id":true}', "invalid_id", "id"),
        (b'{"id":"' + b"x" * 256 + b'"}', "invalid_id", "id"),
        (b'{"readAt":-1}', "invalid_body", "readAt"),
        (b'{"readAt":"4"}', "invalid_body", "readAt"),
        (b'{"readAt":true}', "invalid_body", "readAt"),
        (b'{"onStale":"maybe"}', "invalid_body", "onStale"),
        (b'{"onStale":[]}', "invalid_body", "onStale"),
        (b'{"fenceToken":1.5}', "invalid_body", "fenceToken"),
        (b'{"claim":{}}', "invalid_body", "claim"),
        (b'{"reads":{}}', "invalid_body", "reads"),
        (b'{"reads":[{"model":"tasks","id":"1"}]}', "invalid_body", "reads[0].readAt"),
        (b'{"reads":[{"id":"1","readAt":1}]}', "invalid_body", "reads[0].model"),
        (b'{"reads":[{"model":"tasks","readAt":1}]}', "model_identifier_missing", "reads[0].id"),
        (b'{"reads":[{"model":"tasks","id":"1","readAt":1,"extra":1}]}', "invalid_body", "reads[0].extra"),
        (b'{"reads":[{"group":"No:1","readAt":1}]}', "invalid_sync_group", "reads[0].group"),
        (b'{"track":[{"model":"tasks","id":"1","onStale":"overwrite"}]}', "invalid_body", "track[0].onStale"),
    ],
)
def test_write_body_of_another_shape_is_refused_with_its_place(raw: bytes, code: str, param: str | None) -> None:
    assert refused(wire.parse_write, raw) == (code, param)


def test_more_than_500_premises_are_refused() -> None:
    entries = [{"model": "tasks", "id": str(i), "readAt": 1} for i in range(251)]
    raw = orjson.dumps({"reads": entries, "track": entries})
    assert refused(wire.parse_write, raw) == ("invalid_body", "reads")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_json_in_place_of_a_body_is_taken_or_refused_by_code(value: Any) -> None:
    try:
        raw = orjson.dumps({"data": value, "id": value, "readAt": value, "reads": value, "track": value})
    except (TypeError, ValueError):
        return  # beyond 64 bits
    for parse in (wire.parse_write, wire.parse_commit):
        error: PgsyncError | None = None
        try:
            parse(raw)
        except PgsyncError as caught:
            error = caught
        assert error is None or error.status == 400


# --- batches ------------------------------------------------------------------------------------------------------

OPERATION = {"action": "update", "model": "tasks", "id": "1", "data": {"title": "x"}}


def test_commit_with_every_key_null_is_taken() -> None:
    operation = OPERATION | dict.fromkeys(("transactionId", "claimId", "readAt", "onStale", "fenceToken"))
    body = wire.parse_commit(orjson.dumps({"operations": [operation]}))
    assert body.models == ("tasks",)


def test_commit_that_only_tracks_is_taken() -> None:
    wire.parse_commit(b'{"track":[{"model":"tasks","id":"1"}]}')


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "commit_operation_required", "operations"),
        ({"operations": []}, "commit_operation_required", "operations"),
        ({"operations": [], "track": [{"model": "t", "id": "1"}]}, "commit_operation_required", "operations"),
        ({"operations": {}}, "invalid_body", "operations"),
        ({"operations": [OPERATION], "extra": 1}, "invalid_body", "extra"),
        ({"operations": [OPERATION], "operation": OPERATION}, "commit_operations_ambiguous", "operation"),
        ({"operations": [OPERATION] * 501}, "commit_too_many_operations", "operations"),
        ({"operations": ["x"]}, "commit_operation_invalid", "operations[0]"),
        ({"operations": [OPERATION, OPERATION | {"x": 1}]}, "commit_operation_invalid", "operations[1].x"),
        ({"operations": [OPERATION | {"action": None}]}, "commit_operation_action_required", "operations[0].action"),
        ({"operations": [OPERATION | {"action": "upsert"}]}, "commit_operation_unsupported", "operations[0].action"),
        ({"operations": [OPERATION | {"model": ""}]}, "commit_operation_model_required", "operations[0].model"),
        ({"operations": [OPERATION | {"model": 5}]}, "commit_operation_invalid", "operations[0].model"),
        ({"operations": [OPERATION | {"id": None}]}, "model_identifier_missing", "operations[0].id"),
        ({"operations": [OPERATION | {"data": "x"}]}, "commit_operation_invalid", "operations[0].data"),
        ({"operations": [OPERATION | {"transactionId": 7}]}, "commit_operation_invalid", "operations[0].transactionId"),
    ],
)
def test_commit_of_another_shape_is_refused_with_its_place(body: dict[str, Any], code: str, param: str) -> None:
    assert refused(wire.parse_commit, orjson.dumps(body)) == (code, param)


def test_commit_frame_spells_type_and_input_and_names_its_key() -> None:
    payload = {
        "operations": [{"type": "UPDATE", "model": "task", "id": "1", "input": {"title": "x"}, "transactionId": "t1"}],
        "clientTxId": "tx-1",
    }
    body = wire.parse_commit_frame(b"{}", payload)
    assert (body.idempotency_key, body.models) == ("tx-1", ("task",))


# --- headers ------------------------------------------------------------------------------------------------------


def test_header_wins_over_a_key_in_the_body() -> None:
    assert wire.idempotency_key("from-header", "from-body") == ("from-header", True)
    assert wire.idempotency_key(None, "from-body") == ("from-body", True)


def test_missing_key_becomes_a_uuid4() -> None:
    key, is_callers = wire.idempotency_key(None)
    assert uuid.UUID(key).version == 4
    assert not is_callers


def test_key_of_255_characters_is_taken_and_of_256_is_not() -> None:
    assert wire.idempotency_key("ü" * 255)[1]
    assert refused(wire.idempotency_key, "x" * 256) == ("idempotency_key_too_long", "Idempotency-Key")


def test_only_protocol_version_1_is_spoken() -> None:
    wire.check_protocol_version(None)
    wire.check_protocol_version("1")
    assert refused(wire.check_protocol_version, "2")[0] == "protocol_version_unsupported"


def test_id_of_a_create_without_one_is_the_clients_own_choice() -> None:
    # tasks:order-18, as the contract's client derived it
    assert wire.created_id("tasks", "order-18") == "f5b2c4d2-45c9-51ba-9edd-21b889b6f6ec"


# --- answers ------------------------------------------------------------------------------------------------------


def test_confirmed_receipt_has_the_contracts_keys_and_no_null() -> None:
    parsed = receipt()
    assert set(parsed) <= RECEIPT_KEYS
    assert None not in parsed.values()
    assert parsed["status"] == "confirmed"
    assert parsed["lastSyncId"] == 4
    assert parsed["clientTxId"] == parsed["id"] == "order-17"
    assert parsed["authority"] == wire.authority(CREDENTIAL)


def test_queued_receipt_has_sync_id_0_and_the_correlation_id_that_the_confirmed_one_repeats() -> None:
    queued, confirmed = receipt(last_sync_id=None), receipt(last_sync_id=9)
    assert (queued["status"], queued["lastSyncId"]) == ("queued", 0)
    assert queued["correlationId"] == confirmed["correlationId"] == "731-0"


def test_confirmed_receipt_at_position_0_has_no_correlation_id() -> None:
    assert "correlationId" not in receipt(last_sync_id=0)


def test_receipt_survives_a_key_that_needs_escaping() -> None:
    assert receipt(client_tx_id='a"b\\c')["clientTxId"] == 'a"b\\c'


def test_rejection_frame_has_the_error_and_no_key_of_an_accepted_one() -> None:
    raw = wire.rejection_frame(client_tx_id="t", authority_json=AUTHORITY, error={"code": "c", "message": "m"})
    payload = orjson.loads(raw)["payload"]
    assert set(payload) == {
        "object",
        "clientTxId",
        "serverTxId",
        "createdAt",
        "statusAt",
        "status",
        "success",
        "authority",
        "error",
    }
    assert (payload["status"], payload["success"]) == ("rejected", False)


def test_missing_row_is_data_null_with_every_key() -> None:
    assert orjson.loads(wire.row(model="tasks", row_id="x", data=None, stamp=3)) == {
        "object": "model",
        "model": "tasks",
        "id": "x",
        "data": None,
        "stamp": 3,
        "claims": [],
    }


def test_every_row_of_a_list_has_evidence_and_the_cursor_is_there_even_when_null() -> None:
    parsed = orjson.loads(wire.rows(model="tasks", data=[b'{"id":"a"}'], ids=["a"], next_cursor=None, stamp=7))
    assert parsed == {
        "object": "list",
        "model": "tasks",
        "data": [{"id": "a"}],
        "has_more": False,
        "next_cursor": None,
        "stamp": 7,
        "evidence": [{"id": "a", "stamp": 7}],
    }


def test_identity_has_a_branch_that_is_the_root() -> None:
    parsed = orjson.loads(wire.identity(CREDENTIAL))
    assert parsed["branchId"] == "main"
    assert parsed["branchRoot"] is True
    assert parsed["accountScope"] == "acme"
    assert parsed["authority"] == wire.authority(CREDENTIAL)


@pytest.mark.parametrize(("header", "stamp"), [(None, None), ("*", None), ('"42"', 42), (' W/"42" ', 42)])
def test_if_match_gives_the_stamp_back(header: str | None, stamp: int | None) -> None:
    assert wire.if_match(header) == stamp
    assert wire.if_match(wire.etag(42)) == 42


@pytest.mark.parametrize("header", ["42", '"1", "2"', '"x"', '"-1"', '"' + "9" * 30 + '"', ""])
def test_foreign_etag_is_refused(header: str) -> None:
    with pytest.raises(PgsyncError) as caught:
        wire.if_match(header)
    assert (caught.value.code, caught.value.param) == ("invalid_request", "If-Match")


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b" { } \n", b'{"data":{"n":12345678901234567890.5}} \r\n', b'{"readAt":null}']
)
def test_if_match_becomes_a_premise_and_leaves_the_other_bytes_as_they_are(raw: bytes) -> None:
    body = wire.parse_write(raw, read_at=7)
    assert body.read_ats == (7,)
    assert orjson.loads(body.raw) == orjson.loads(raw or b"{}") | {"readAt": 7, "onStale": "reject"}
    assert body.raw.startswith(raw.rstrip()[:-1])


@pytest.mark.parametrize("guards", [{"readAt": 6}, {"onStale": "overwrite"}, {"readAt": 7, "onStale": "notify"}])
def test_body_that_says_something_else_than_if_match_is_refused(guards: dict[str, Any]) -> None:
    with pytest.raises(PgsyncError) as caught:
        wire.parse_write(orjson.dumps(guards), read_at=7)
    assert caught.value.code == "invalid_body"


def test_body_that_no_answer_could_carry_on_is_refused() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' * levels + b"1" + b"}" * levels

    assert wire.parse_json(nested(wire.MAX_DEPTH)) is not None
    assert wire.parse_json(b"[" + b",".join([b"{}"] * 1000) + b"]") == [{}] * 1000
    with pytest.raises(PgsyncError, match="nested deeper") as refused:
        wire.parse_json(nested(wire.MAX_DEPTH + 1))
    assert refused.value.code == "invalid_body"


@pytest.mark.parametrize(
    "numbers",
    [
        b"1e-16383," * 50 + b"0",
        b"6.02214076e23,-1.5E-07," * 50_000 + b"0",
        b'"\\"1e-16383",' * 1000 + b'"1e-16383"',
        b"1e-0000000000000007," * 100_000 + b"1",
    ],
    ids=["few", "ordinary", "text", "zeros"],
)
def test_numbers_with_exponents_are_taken(numbers: bytes) -> None:
    assert wire.parse_json(b"[%s]" % numbers)


@pytest.mark.parametrize(
    "numbers",
    [
        b"1e-16383," * 100_000 + b"0",
        b"1e307," * 100_000 + b"0",
        b"0e-9999999999999",
        b'"\\\\",' + b"1e-16383," * 100_000 + b"0",
    ],
    ids=["small", "large", "absurd", "after text"],
)
def test_numbers_that_are_long_written_out_are_refused(numbers: bytes) -> None:
    with pytest.raises(PgsyncError, match="written out") as refused:
        wire.parse_json(b"[%s]" % numbers)
    assert refused.value.code == "invalid_body"
