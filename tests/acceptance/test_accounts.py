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
    assert (await client.get(f"/api/v1/branches/{branch['id']}/status")).json["status"] == "ready"
    (source,) = (await client.get("/api/v1/datasources")).json["data"]
    assert (source["connection"], source["database"], source["status"]) == ("direct", world.database.name, "ready")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/branches/other", 403, "branch_scope_denied"),
        ("POST", "/api/v1/branches", 403, "forbidden"),
        ("DELETE", "/api/v1/branches/main", 403, "forbidden"),
        ("POST", "/api/v1/projects", 403, "forbidden"),
        ("POST", "/api/v1/datasources", 400, "datasource_connection_unsupported"),
    ],
)
async def test_there_are_no_others_and_none_can_be_made(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    assert (await client.call(method, path)).error[:2] == (status, code)
