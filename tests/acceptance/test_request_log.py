"""Every answer carries a request id, and the log line of the request has the same one."""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.acceptance.conftest import Client


async def test_answer_and_log_line_share_the_request_id(client: Client) -> None:
    with capture_logs() as lines:
        served = await client.create("tasks", "secret-id", {"title": "secret title"})
        refused = await client.update("tasks", "missing-id", {"title": "x"})
    by_id = {line["request_id"]: line for line in lines if "request_id" in line}
    first, second = by_id[served.headers["x-request-id"]], by_id[refused.headers["x-request-id"]]
    assert (first["event"], first["log_level"], first["status"]) == ("request_served", "debug", 200)
    assert (second["event"], second["code"]) == ("request_refused", "mutate_update_entity_not_found")
    assert refused.json["request_id"] == refused.headers["x-request-id"]
    assert "secret" not in str(lines)
    assert "missing-id" not in str(lines)
