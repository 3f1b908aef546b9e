"""Every answer carries a request id, and the log line of the request has the same one."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from structlog.testing import capture_logs

from tests.acceptance.conftest import Client, until


async def test_answer_and_log_line_share_the_request_id(client: Client) -> None:
    with capture_logs() as lines:
        served = await client.create("tasks", "secret-id", {"title": "secret title"})
        refused = await client.update("tasks", "missing-id", {"title": "x"})
        ids = [answer.headers["x-request-id"] for answer in (served, refused)]

        async def logged() -> list[MutableMapping[str, Any]] | None:
            by_id = {line["request_id"]: line for line in lines if "request_id" in line}
            return [by_id[each] for each in ids] if by_id.keys() >= set(ids) else None

        first, second = await until(logged, "both lines")  # an answer is sent before its line is written
    assert (first["event"], first["log_level"], first["status"]) == ("request_served", "debug", 200)
    assert (second["event"], second["code"]) == ("request_refused", "mutate_update_entity_not_found")
    assert refused.json["request_id"] == refused.headers["x-request-id"]
    assert "secret" not in str(lines)
    assert "missing-id" not in str(lines)
