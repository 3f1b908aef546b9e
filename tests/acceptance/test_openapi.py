"""The OpenAPI document says all that there is: every route, every status, the shape of every answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pgsync.cli.propose import propose
from pgsync.errors import CODES
from pgsync.gateway import serve
from pgsync.gateway.openapi_routes import OPERATIONS
from pgsync.gateway.routes import Routes
from tests import postgres
from tests.acceptance.conftest import Client, World, config_of

EXAMPLES: Final = 6  # per operation and way of generating: a minute finds what ten do, and CI has to end
ANSWER_SECONDS: Final = 60
METHODS: Final = {"get", "head", "post", "patch", "put", "delete"}


@pytest.fixture
async def world(pushed: postgres.Database) -> AsyncIterator[World]:
    """A gateway as `pgsync serve` runs it."""
    async with serve(config_of(pushed), receive_schema=propose) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, pushed, session)


async def document(client: Client) -> Any:
    reply = await client.get("/api/v1/openapi.json")
    assert reply.status == 200
    return reply.json


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if "$ref" in node else set()
        return found.union(*(references(child) for child in node.values()))
    return set().union(*(references(child) for child in node)) if isinstance(node, list) else set()


async def test_document_has_every_key_of_a_write_and_null_for_each(client: Client) -> None:
    paths = (await document(client))["paths"]
    guards = {"claim", "fenceToken", "readAt", "onStale", "reads", "track", "idempotencyKey"}
    for path, method, keys in (
        ("/api/v1/models/tasks", "post", guards | {"id", "data"}),
        ("/api/v1/models/tasks/{id}", "patch", guards | {"data"}),
        ("/api/v1/models/tasks/{id}", "delete", guards),
    ):
        body = paths[path][method]["requestBody"]["content"]["application/json"]["schema"]
        assert set(body["properties"]) == keys
        assert "required" not in body
        for name, taken in body["properties"].items():
            kinds = taken.get("type", taken.get("enum")) or [one.get("type") for one in taken["anyOf"]]
            assert "null" in kinds or None in kinds, name
    nothing = dict.fromkeys(guards | {"id", "data"})
    assert (await client.call("POST", "/api/v1/models/projects", nothing | {"data": {"name": "x"}})).status == 200
    assert (await client.call("POST", "/api/v1/models/counters", nothing | {"id": 1})).status == 200
    reply = await client.call("PATCH", "/api/v1/models/counters/1", {"idempotencyKey": "k1", "data": None})
    assert (reply.status, reply.json["clientTxId"]) == (200, "k1")


async def test_document_spells_out_the_models_of_the_schema(client: Client) -> None:
    found = await document(client)
    assert found["openapi"].startswith("3.1")
    schemas = found["components"]["schemas"]
    task = schemas["TaskRow"]["properties"]
    assert task["status"] == {"enum": ["todo", "doing", "done"]}
    assert {"id", "title", "isDone", "createdAt", "organizationId"} <= set(task)
    assert "createdAt" not in schemas["TaskData"]["properties"]
    assert "/api/v1/models/tasks/{id}" in found["paths"]
    for reference in references(found):
        assert reference.removeprefix("#/components/schemas/") in schemas
    names = [operation["operationId"] for methods in found["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


async def test_document_says_what_plain_callers_may_send_and_get(client: Client) -> None:
    paths = (await document(client))["paths"]

    def parameters(path: str, method: str) -> set[tuple[str, str]]:
        return {(entry["in"], entry["name"]) for entry in paths[path][method]["parameters"]}

    one, many = "/api/v1/models/tasks/{id}", "/api/v1/models/tasks"
    assert {("query", "where"), ("query", "starting_after"), ("query", "title")} <= parameters(many, "get")
    assert ("header", "If-Match") in parameters(one, "patch") & parameters(one, "delete")
    assert ("header", "If-Match") not in parameters(one, "get") | parameters(many, "post")
    assert ("header", "Idempotency-Key") in parameters(many, "post")
    assert ("header", "Ablo-Protocol-Version") in parameters(one, "get")
    assert "ETag" in paths[one]["get"]["responses"]["200"]["headers"]
    assert "Location" in paths[many]["post"]["responses"]["200"]["headers"]
    claim = paths[f"{one}/claim"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"queue", "ttl", "preempt"} <= set(claim["properties"])


async def test_document_follows_a_push(world: World, client: Client) -> None:
    before = await document(client)
    world.database.execute(
        "UPDATE pgsync_private.schema_version"
        " SET version = 7, models = jsonb_path_query_array(models, '$[*] ? (@.key != \"samples\")')"
    )
    await client.get("/api/schema")
    after = await document(client)
    assert "SampleRow" in before["components"]["schemas"]
    assert "SampleRow" not in after["components"]["schemas"]
    assert after["info"]["version"] == "7"


async def test_document_has_every_route_and_no_other(
    pushed: postgres.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: set[tuple[str, str]] = {("GET", "/api/health"), ("GET", "/metrics")}
    register = Routes._route

    def recording(routes: Routes, path: str, **handlers: Any) -> None:
        registered.update((method, path) for method in handlers)
        register(routes, path, **handlers)

    monkeypatch.setattr(Routes, "_route", recording)
    async with serve(config_of(pushed)):
        pass
    assert {(operation.method, re.sub(r"\{\w+\}", "", operation.path)) for operation in OPERATIONS} == registered


async def test_codes_of_the_document_are_the_contracts(client: Client) -> None:
    for methods in (await document(client))["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if answer["description"].startswith("Codes: "):
                    for code in answer["description"].removeprefix("Codes: ").split(", "):
                        assert CODES[code].status == int(status)


async def test_document_needs_a_key_and_its_page_does_not(world: World) -> None:
    nobody = world.with_key("nope")
    assert (await nobody.get("/api/v1/openapi.json")).status == 401
    async with world.session.get(world.gateway.url + "/api/v1/docs") as page:
        assert page.status == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        text = await page.text()
    assert "openapi.json" in text
    assert re.findall(r"""(?:https?:)?//[\w.]+|(?:src|href)=|@import|url\(""", text) == []


def check_everything(found: Any, url: str, key: str) -> set[tuple[str, str, int]]:
    """Calls every operation with what its schema allows and with what it does not; the answers that came."""
    for methods in found["paths"].values():
        for described in methods.values():  # every operation says it alike, and each would cost the time of a body
            described["parameters"] = [p for p in described["parameters"] if p["name"] != "Ablo-Protocol-Version"]
    schema = schemathesis.openapi.from_dict(found)
    seen: set[tuple[str, str, int]] = set()
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {key}"
        for result in schema.get_all_operations():
            operation = result.ok()  # type: ignore[union-attr]  # an invalid document raises here
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                cases = operation.as_strategy(generation_mode=mode)
                answers = found["paths"][operation.path][operation.method]["responses"]
                examples = EXAMPLES if any(status < "300" for status in answers) else 1  # or all it does is refuse
                probed = probe(cases, url, session, seen, examples)
                try:
                    probed()
                except hypothesis.errors.Unsatisfiable:
                    continue  # nothing in this operation can be wrong
    return seen


def probe(cases: Any, url: str, session: requests.Session, seen: set[tuple[str, str, int]], examples: int) -> Any:
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=cases)
    def call(case: schemathesis.Case[Any]) -> None:
        if case.operation.path == "/api/v1/changes":
            case.query = {**(case.query or {}), "follow": "0"}  # else it has no end
        response = case.call(base_url=url, session=session, timeout=ANSWER_SECONDS)  # without, a lost answer is a hang
        seen.add((case.operation.method.upper(), case.operation.path, response.status_code))
        assert response.status_code < 500, (case.as_curl_command(), response.text)
        checks = [
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            response_headers_conformance,
        ]
        case.validate_response(response, checks=checks)

    return call


async def test_no_answer_is_undocumented_and_none_is_our_failure(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    found = await document(client)
    seen = await asyncio.to_thread(check_everything, found, world.gateway.url, client.key)
    called = {(method, path) for method, path, _ in seen}
    assert called == {
        (method.upper(), path) for path, methods in found["paths"].items() for method in methods if method in METHODS
    }
    assert {200, 201, 400, 404} <= {status for _, _, status in seen}
