"""The routes about projects, branches and data sources (contract 1.16), where there is exactly one of each.

This server is not a hosted service: its project is the deployment, its branch the root, its data source the database
that it is in. What would make more of them is refused, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson
from aiohttp import web

from pgsync import wire
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.gateway.handler import Answer, Handler, Segments
from pgsync.stream.feed import Feed

PROJECT: Final = "default"
BRANCH: Final = "main"
DATA_SOURCE: Final = "default"

_DEPLOYMENT = Statement(b"SELECT pgsync.deployment_v1()", b"deployment_v1")


class Accounts:
    """One project, one branch, one data source."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """Reads of the three, and refusals to make more."""
        yield "/api/v1/projects", {"GET": self._projects, "POST": self._refuse}
        yield "/api/v1/branches", {"GET": self._branches, "POST": self._refuse}
        yield "/api/v1/branches/", {"GET": self._branch, "DELETE": self._refuse}
        yield "/api/v1/branches//status", {"GET": self._branch_status}
        yield (
            "/api/v1/datasources",
            {"GET": self._data_sources, "POST": self._refuse_source, "DELETE": self._refuse_source},
        )

    async def _projects(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        deployment = await self._deployment()
        project = {
            "object": "project",
            "id": PROJECT,
            "slug": PROJECT,
            "name": PROJECT,
            "default": True,
            "created_at": deployment["createdAt"],
        }
        return orjson.dumps({"object": "list", "data": [project]})

    async def _branches(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return orjson.dumps({"object": "list", "data": [await self._describe_branch()]})

    async def _branch(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        _check_branch(segments)
        return orjson.dumps(await self._describe_branch())

    async def _branch_status(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        _check_branch(segments)
        return orjson.dumps({"object": "branch_status", "id": BRANCH, "status": self._status()})

    async def _data_sources(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        deployment = await self._deployment()
        source = {
            "object": "datasource",
            "id": DATA_SOURCE,
            "connection": "direct",
            "database": deployment["database"],
            "display_name": deployment["database"],
            "status": self._status(),
            "livemode": True,
        }
        return orjson.dumps({"object": "list", "data": [source]})

    async def _refuse(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        wire.refuse("forbidden", "this server has one project and one branch, and makes no others")

    async def _refuse_source(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        wire.refuse(
            "datasource_connection_unsupported",
            "this server works in the one database that it was started for and connects to no other",
        )

    async def _describe_branch(self) -> dict[str, Any]:
        deployment = await self._deployment()
        return {
            "object": "branch",
            "id": BRANCH,
            "name": BRANCH,
            "project_id": PROJECT,
            "parent_id": None,
            "root": True,
            "status": self._status(),
            "created_at": deployment["createdAt"],
        }

    def _status(self) -> str:
        return "ready" if self._feed.is_connected else "degraded"

    async def _deployment(self) -> dict[str, Any]:
        (result,) = await self._database.run([Call(_DEPLOYMENT)])
        deployment: dict[str, Any] = orjson.loads(result.get_value(0, 0) or b"null")
        return deployment


def _check_branch(segments: Segments) -> None:
    if unquote(segments[3], errors="replace") != BRANCH:
        wire.refuse("branch_scope_denied", f"this server has one branch, {BRANCH}", param="id")
