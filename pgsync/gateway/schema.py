"""The schema routes: what is active, and the door for a schema that comes over HTTP.

A gateway has no right to change tables, so a pushed schema is only proposed, unless whoever started the gateway
brought a way to push.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pgsync import wire
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.models import ActiveSchema, Model

MAX_SCHEMA_BYTES: Final = 1_000_000

_PUSH_KEYS = frozenset({"schema", "force", "renames", "backfills"})


@dataclass(frozen=True, slots=True)
class SchemaPush:
    """A checked body of `POST /api/schema` (contract 1.12): the SchemaJSON and how to get there.

    `propose` stores it in the database under the hash given, until somebody with rights pushes it. `active` is what is
    in force now. `options` are `force` (a boolean), `renames` and `backfills` (lists of objects).
    """

    document: Mapping[str, Any]
    propose: Callable[[str], Awaitable[None]]
    active: ActiveSchema
    options: Mapping[str, Any]


SchemaReceiver = Callable[[SchemaPush], Awaitable[Mapping[str, Any]]]
"""Takes a push and gives the answer `{version, hash, unchanged?, warnings?, ..}`: it pushes at once or proposes.

Raises PgsyncError: invalid_schema, incompatible_change with `unexecutable` and `warnings`.
"""

_PROPOSE = Statement(b"SELECT pgsync.propose_schema_v1($1::jsonb, $2::text, $3::jsonb, $4::jsonb)")


class Schema:
    """`GET` and `POST /api/schema`."""

    def __init__(self, database: Database, schema: ServedSchema, receive: SchemaReceiver | None) -> None:
        self._database = database
        self._schema = schema
        self._receive = receive

    async def get(self) -> bytes:
        """The active schema, or that there is none."""
        await self._schema.refresh()
        active = self._schema.current
        place = {"environment": "production", "project": "default"}
        if active.version == 0:
            return orjson.dumps({"active": False, **place, "models": []})
        declared = active.document.get("models", {})
        return orjson.dumps(
            {
                "active": True,
                **place,
                "schemaId": f"schema_{active.version}",
                "version": active.version,
                "hash": active.hash,
                "pushedAt": active.pushed_at,
                "models": [_describe(model, declared.get(model.key, {})) for model in active.models],
            }
        )

    async def push(self, credential: Credential, raw: bytes) -> bytes:
        """Takes a SchemaJSON from somebody with a secret key."""
        if credential.key_kind != "sk":
            wire.refuse("forbidden", "a schema is pushed with a secret key (sk_)")
        if len(raw) > MAX_SCHEMA_BYTES:
            wire.refuse("schema_too_large", f"a schema has at most {MAX_SCHEMA_BYTES} bytes, this one {len(raw)}")
        body = wire.parse_json(raw)
        if not isinstance(body, dict) or not isinstance(body.get("schema"), dict):
            wire.refuse("invalid_body", "the body is an object with the SchemaJSON under schema", param="schema")
        for key in body:
            if key not in _PUSH_KEYS:
                wire.refuse("invalid_body", f"unknown key {key!r}", param=key)
        force = body.get("force") or False
        if not isinstance(force, bool):
            wire.refuse("invalid_body", "force is true or false", param="force")
        if self._receive is None:
            wire.refuse(
                "schema_provisioning_forbidden",
                "this gateway takes no schema over HTTP: run `pgsync push schema.py` against its database",
            )
        options = {"force": force, **_steps(body)}
        await self._schema.refresh()

        async def propose(schema_hash: str) -> None:
            parameters = (
                credential.identity_json,
                schema_hash.encode(),
                orjson.dumps(body["schema"]),
                orjson.dumps(options),
            )
            await self._database.run([Call(_PROPOSE, parameters)])

        push = SchemaPush(document=body["schema"], propose=propose, active=self._schema.current, options=options)
        answer = await self._receive(push)
        await self._schema.refresh()
        return orjson.dumps(answer)


def _steps(body: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """`renames` and `backfills`, as far as their shape goes."""
    steps: dict[str, list[Mapping[str, Any]]] = {}
    for key in ("renames", "backfills"):
        value = [] if body.get(key) is None else body[key]
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            wire.refuse("invalid_body", f"{key} is an array of objects", param=key)
        steps[key] = value
    return steps


def _describe(model: Model, declared: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": model.key,
        "typename": model.typename,
        "conflict": None if model.conflict is None else dict(model.conflict),
        "hash": model.hash,
        "fields": declared.get("fields", {}),
        "relations": declared.get("relations", {}),
    }
