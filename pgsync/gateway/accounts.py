"""The routes about projects, branches, data sources and webhooks (contract 1.16), where there is one of each, or none.

This server is not a hosted service: its project is the deployment, its branch the root, its data source the database
that it is in, and it calls no webhooks. What would make more of them is refused, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn
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
    """One project, one branch, one data source, no webhooks."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """Reads of what there is, and refusals to make more. The contract's CLI asks for some without `/api`."""
        yield "/api/v1/projects", {"GET": self._projects, "POST": self._refuse}
        yield "/api/v1/branches", {"GET": self._branches, "POST": self._refuse}
        yield "/api/v1/branches/", {"GET": self._branch, "DELETE": self._refuse}
        yield "/api/v1/branches//status", {"GET": self._branch_status}
        yield "/api/v1/branches//credentials", {"POST": self._refuse_credential}
        for prefix in ("/api", ""):
            yield (
                f"{prefix}/v1/datasources",
                {"GET": self._data_sources, "POST": self._refuse_source, "DELETE": self._refuse_source},
            )
            yield f"{prefix}/v1/source/listen", {"GET": self._refuse_connector}
        yield "/api/source/events", {"POST": self._refuse_events}
        yield "/api/v1/datasources/validate", {"POST": self._validate}
        yield "/api/v1/datasources/locate", {"POST": self._refuse_source}
        yield "/api/v1/datasources/resnapshot", {"POST": self._refuse_source}
        yield "/api/v1/webhook_endpoints", {"GET": self._webhooks, "POST": self._refuse_webhook}
        yield "/api/v1/webhook_endpoints/", {"GET": self._no_webhook, "DELETE": self._no_webhook}
        yield "/api/v1/webhook_endpoints//enable", {"POST": self._no_webhook}
        yield "/api/v1/webhook_endpoints//roll_secret", {"POST": self._no_webhook}

    # --- what there is ----------------------------------------------------------------------------------------------

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
        return orjson.dumps({"object": "list", "data": [_branch(await self._deployment())]})

    async def _branch(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        _check_branch(segments)
        return orjson.dumps(_branch(await self._deployment()))

    async def _branch_status(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        """The root is compared with nothing: it has no parent."""
        _check_branch(segments)
        deployment = await self._deployment()
        schema, failures = deployment["schema"], self._failures(deployment)
        blockers = [
            {"code": "data_source_not_ready", "problem": failure["actual"], "fix": failure["fix"]}
            for failure in failures
        ]
        if schema is None:
            blockers.append(
                {"code": "schema_missing", "problem": "no schema is active", "fix": "pgsync push schema.py"}
            )
        return orjson.dumps(
            {
                "object": "branch_status",
                "branch": _branch(deployment),
                "ready": not blockers,
                "schema": {
                    "active": schema is not None,
                    "version": None if schema is None else schema["version"],
                    "hash": None if schema is None else schema["hash"],
                    "parent_compatibility": "same",
                    "changes": 0,
                    "warnings": 0,
                    "blockers": 0,
                },
                "data_source": {
                    "kind": "direct",
                    "status": self._status(),
                    "host": None,
                    "database": deployment["database"],
                    "cursor": str(self._feed.head),
                    # How many events those bytes are is known when they have been read: at least one.
                    "event_lag": 1 if self._feed.lag_bytes else 0,
                    "retry_count": 0,
                    "last_success_at": None,
                    "last_error": failures[0]["actual"] if failures else None,
                },
                "blockers": blockers,
            }
        )

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

    async def _validate(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        """Whether writes reach this database and their changes come back. Another one is not dialled."""
        raw = await request.read()
        body = wire.parse_json(raw) if raw.strip() else {}
        if not isinstance(body, dict):
            wire.refuse("invalid_body", "the body is a JSON object")
        if any(body.values()):
            _refuse_source()
        failures = self._failures(await self._deployment())
        return orjson.dumps(
            {
                "object": "datasource_validation",
                "connection": "direct",
                "reachable": True,
                "ready": not failures,
                "initial_snapshot": {"status": "complete"},  # rows are read where they are
                "failures": failures,
                "advisories": [],
            }
        )

    async def _webhooks(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return b'{"object":"list","data":[],"has_more":false,"next_cursor":null}'

    # --- what there is not ------------------------------------------------------------------------------------------

    async def _refuse(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        wire.refuse("forbidden", "this server has one project and one branch, and makes no others")

    async def _refuse_credential(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        _check_branch(segments)
        wire.refuse("forbidden", "keys are made by an administrator (pgsync keys create), sessions by a secret key")

    async def _refuse_source(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        _refuse_source()

    async def _refuse_connector(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        wire.refuse("source_connector_no_source_registered", "this server works in its own database: nothing to serve")

    async def _refuse_events(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        wire.refuse("no_data_source_registered", "this server reads changes from its own database's log: send it none")

    async def _refuse_webhook(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        wire.refuse("forbidden", "this server calls no webhooks: follow GET /api/v1/logs or a socket")

    async def _no_webhook(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        wire.refuse("entity_not_found", "this server has no webhook endpoints", param="id")

    # --- how it is --------------------------------------------------------------------------------------------------

    def _status(self) -> str:
        return "active" if self._feed.is_connected else "unverified"

    def _failures(self, deployment: Mapping[str, Any]) -> list[dict[str, str]]:
        """What keeps changes from those who wait for them, in the contract's vocabulary of readiness."""
        found = []
        if deployment["walLevel"] != "logical":
            found.append(
                {
                    "item": "wal_level",
                    "actual": f"wal_level is {deployment['walLevel']}",
                    "fix": "ALTER SYSTEM SET wal_level = 'logical', then restart the server",
                }
            )
        if deployment["unpublished"]:
            found.append(
                {
                    "item": "publication_drift",
                    "actual": f"not in the publication pgsync: {', '.join(deployment['unpublished'])}",
                    "fix": "pgsync push schema.py",
                }
            )
        if not self._feed.is_connected:
            found.append(
                {
                    "item": "replication_role",
                    "actual": "this gateway does not read the log now",
                    "fix": "see stream_disconnected in the gateway's log for the reason",
                }
            )
        return found

    async def _deployment(self) -> dict[str, Any]:
        (result,) = await self._database.run([Call(_DEPLOYMENT)])
        deployment: dict[str, Any] = orjson.loads(result.get_value(0, 0) or b"null")
        return deployment


def _branch(deployment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "object": "branch",
        "id": BRANCH,
        "project_id": PROJECT,
        "parent_branch_id": None,
        "slug": BRANCH,
        "name": BRANCH,
        "kind": "long_lived",
        "state": "ready",
        "origin": "empty",
        "root": True,
        "expires_at": None,
        "created_at": deployment["createdAt"],
        "deleted_at": None,
    }


def _check_branch(segments: Segments) -> None:
    if unquote(segments[3], errors="replace") != BRANCH:
        wire.refuse("branch_scope_denied", f"this server has one branch, {BRANCH}", param="id")


def _refuse_source() -> NoReturn:
    wire.refuse(
        "datasource_connection_unsupported",
        "this server works in the one database that it was started for and connects to no other",
    )
