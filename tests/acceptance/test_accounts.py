"""One project, one branch that is the root, one data source that is this database: said truthfully."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Client, World


async def test_there_is_one_project_one_branch_and_one_data_source(world: World, client: Client) -> None:
    identity = (await client.get("/api/auth/identity")).json
    (project,) = (await client.get("/api/v1/projects")).json["data"]
    assert set(project) == {"object", "id", "slug", "name", "default", "created_at"}
    assert (project["id"], project["default"]) == (identity["projectId"], True)
    assert project["created_at"].endswith("Z")
    (branch,) = (await client.get("/api/v1/branches")).json["data"]
    assert (branch["id"], branch["root"]) == (identity["branchId"], identity["branchRoot"])
    assert (await client.get(f"/api/v1/branches/{branch['id']}")).json == branch
    assert set(branch) == {
        "object",
        "id",
        "project_id",
        "parent_branch_id",
        "slug",
        "name",
        "kind",
        "state",
        "origin",
        "root",
        "expires_at",
        "created_at",
        "deleted_at",
    }
    status = (await client.get(f"/api/v1/branches/{branch['id']}/status")).json
    assert set(status) == {"object", "branch", "ready", "schema", "data_source", "blockers"}
    assert (status["ready"], status["branch"], status["blockers"]) == (True, branch, [])
    assert status["schema"]["hash"] == (await client.get("/api/schema")).json["hash"]
    for path in ("/api/v1/datasources", "/v1/datasources"):
        (source,) = (await client.get(path)).json["data"]
        assert (source["connection"], source["database"], source["status"]) == (
            "direct",
            world.database.name,
            "active",
        )
    assert (await client.get("/api/v1/webhook_endpoints")).json["data"] == []


async def test_writes_are_said_to_arrive_exactly_when_they_do(world: World, client: Client) -> None:
    path = "/api/v1/datasources/validate"
    found = (await client.call("POST", path, {})).json
    assert (found["reachable"], found["ready"], found["failures"]) == (True, True, [])
    world.database.execute("ALTER PUBLICATION pgsync DROP TABLE tasks, projects")
    found = (await client.call("POST", path)).json
    assert (found["reachable"], found["ready"]) == (True, False)
    (failure,) = found["failures"]
    assert failure["item"] == "publication_drift"
    assert "public.projects, public.tasks" in failure["actual"]
    status = (await client.get("/api/v1/branches/main/status")).json
    assert (status["ready"], status["blockers"][0]["code"]) == (False, "data_source_not_ready")
    other = await client.call("POST", path, {"connectionString": "postgresql://elsewhere/db"})
    assert other.error[:2] == (400, "datasource_connection_unsupported")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/branches/other", 403, "branch_scope_denied"),
        ("POST", "/api/v1/branches", 403, "forbidden"),
        ("DELETE", "/api/v1/branches/main", 403, "forbidden"),
        ("POST", "/api/v1/projects", 403, "forbidden"),
        ("POST", "/api/v1/branches/main/credentials", 403, "forbidden"),
        ("POST", "/api/v1/branches/other/credentials", 403, "branch_scope_denied"),
        ("POST", "/api/v1/datasources", 400, "datasource_connection_unsupported"),
        ("DELETE", "/api/v1/datasources", 400, "datasource_connection_unsupported"),
        ("POST", "/v1/datasources", 400, "datasource_connection_unsupported"),
        ("POST", "/api/v1/datasources/locate", 400, "datasource_connection_unsupported"),
        ("POST", "/api/v1/datasources/resnapshot", 400, "datasource_connection_unsupported"),
        ("GET", "/v1/source/listen", 404, "source_connector_no_source_registered"),
        ("POST", "/api/source/events", 404, "no_data_source_registered"),
        ("GET", "/api/v1/source/listen", 404, "source_connector_no_source_registered"),
        ("POST", "/api/v1/webhook_endpoints", 403, "forbidden"),
        ("GET", "/api/v1/webhook_endpoints/we_1", 404, "entity_not_found"),
        ("DELETE", "/api/v1/webhook_endpoints/we_1", 404, "entity_not_found"),
        ("POST", "/api/v1/webhook_endpoints/we_1/enable", 404, "entity_not_found"),
        ("POST", "/api/v1/webhook_endpoints/we_1/roll_secret", 404, "entity_not_found"),
    ],
)
async def test_there_are_no_others_and_none_can_be_made(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    assert (await client.call(method, path)).error[:2] == (status, code)
