"""`GET /v1/openapi.json`: every route and answer of this server, with the models of the active schema spelled out.

The document is put together from what the gateway itself goes by: the registry of error codes, the active schema and
the table of routes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Final

import orjson
from aiohttp import web

from pgsync import wire
from pgsync.errors import CODES
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.handler import Handler, Segments
from pgsync.gateway.openapi_routes import (
    ALWAYS,
    COMPONENTS,
    FLAG,
    GUARDS,
    NATURAL,
    OPERATIONS,
    ROW_ID,
    TEXT,
    TIME,
    Json,
    Operation,
    list_of,
    object_of,
    or_null,
    ref,
)
from pgsync.models import ActiveSchema, Field, Kind, Model

OPENAPI_VERSION: Final = "3.1.0"
DOCS_PATH: Final = "/api/v1/docs"
_ALWAYS: Final[Json] = {
    "x-request-id": {
        "description": "Names the request in the server's log.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Ablo-Version": {"required": True, "schema": {"const": wire.API_VERSION}},
}


class OpenApi:
    """Answers with the document for the schema that is active."""

    def __init__(self, schema: ServedSchema) -> None:
        self._schema = schema
        self._made: tuple[int, bytes] = (-1, b"")

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """The document; the page that shows it is public and not a route of a caller."""
        yield "/api/v1/openapi.json", {"GET": self._get}

    async def _get(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        active = self._schema.current
        if self._made[0] != active.version:
            self._made = (active.version, orjson.dumps(document(active)))
        return self._made[1]


def docs_page() -> bytes:
    """A page that shows the document without anything from elsewhere; it asks for a key to fetch it with."""
    return resources.files("pgsync.gateway").joinpath("docs.html").read_bytes()


def document(schema: ActiveSchema) -> Json:
    """The OpenAPI 3.1 document of a schema."""
    components = dict(COMPONENTS)
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        if "{model}" not in operation.path:
            paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for model in schema.models:
        row, data = f"{model.typename}Row", f"{model.typename}Data"
        components[row] = _row_schema(model)
        components[data] = _data_schema(model)
        for operation in OPERATIONS:
            if "{model}" in operation.path:
                path = operation.path.replace("{model}", model.key)
                paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, model)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "pgsync",
            "version": f"{schema.version}",
            "description": f"The routes for schema version {schema.version}, hash {schema.hash or 'none'}.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key (sk_, rk_, ek_, pk_) or a JWT."}
            },
        },
        "security": [{"key": []}],
    }


def _operation(operation: Operation, model: Model | None = None) -> Json:
    name = operation.path.replace("{model}", model.key if model is not None else "")
    parameters: list[Json] = [{"name": "id", "in": "path", "required": True, "schema": _path_id(operation, model)}] * (
        "{id}" in operation.path
    )
    query = dict(operation.query)
    if model is not None and operation.method == "GET" and operation.path.endswith("{model}"):
        query |= {
            f.name: _value_schema(f) for f in model.fields if f.kind not in (Kind.JSON, Kind.BYTES) and not f.array
        }
        query["order_by"] = {"enum": [name for name in query if model.field(name) is not None]}
    parameters += [{"name": key, "in": "query", "schema": value} for key, value in query.items()]
    if not operation.public:
        parameters.append(
            {
                "name": "Ablo-Protocol-Version",
                "in": "header",
                "schema": {"const": str(wire.PROTOCOL_VERSION)},
                "description": "The version that the caller speaks; this server speaks one.",
            }
        )
    parameters += [{"name": key, "in": "header", "schema": value} for key, value in operation.headers.items()]
    if operation.idempotent:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": wire.MAX_KEY_LENGTH},
                "description": "The same request under the same key is applied once, for 24 hours.",
            }
        )
    if model is not None and operation.body == {} and operation.path.endswith("{id}"):
        parameters.append(
            {
                "name": "If-Match",
                "in": "header",
                "schema": {"type": "string", "pattern": '^(\\*|(W/)?"[0-9]{1,18}")$'},
                "description": "The ETag of a read: refuse the write when the row has changed since.",
            }
        )
    found: Json = {
        "operationId": "_".join(part.strip("{}") for part in f"{operation.method.lower()}{name}".split("/")),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": _responses(operation, model),
    }
    if model is not None:
        found["tags"] = [model.key]
    body = _body_schema(operation, model)
    if body is not None:
        found["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": body}},
        }
    if operation.public:
        found["security"] = []
    return found


def _path_id(operation: Operation, model: Model | None) -> Json:
    if model is None or operation.method == "GET":
        return ROW_ID
    return _id_schema(model)


def _id_schema(model: Model) -> Json:
    if model.id_field.kind is Kind.INTEGER:
        return {"type": "integer"}
    if model.id_field.kind is Kind.UUID:
        return {"type": "string", "format": "uuid"}
    return ROW_ID


def _responses(operation: Operation, model: Model | None) -> Json:
    answers = dict(operation.answers)
    if model is not None and operation.method == "GET":
        row = ref(f"{model.typename}Row")
        if operation.path.startswith("/api/sync/entity/"):
            answers[200] = row
        elif operation.path.endswith("{id}"):
            answers[200] = object_of(
                {
                    "object": {"const": "model"},
                    "model": TEXT,
                    "id": TEXT,
                    "data": or_null(row),
                    "stamp": NATURAL,
                    "claims": {"type": "array", "items": ref("Claim")},
                }
            )
        else:
            answers[200] = list_of(
                row,
                model=TEXT,
                has_more=FLAG,
                next_cursor=or_null(TEXT),
                stamp=NATURAL,
                evidence={"type": "array", "items": object_of({"id": TEXT, "stamp": NATURAL})},
            )
    responses: Json = {}
    for status, schema in answers.items():
        responses[str(status)] = {"description": "Done" if status < 300 else "Not now"}
        responses[str(status)]["headers"] = {**_ALWAYS, **(operation.answer_headers if status < 300 else {})}
        if schema is not None:
            responses[str(status)]["content"] = {operation.media: {"schema": schema}}
    if operation.public:
        return responses
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*operation.errors, *ALWAYS)):
        by_status.setdefault(CODES[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        refused: Json = {"description": "Codes: " + ", ".join(sorted(codes)), "headers": dict(_ALWAYS)}
        if status == 401:
            refused["headers"]["WWW-Authenticate"] = {"schema": {"const": "Bearer"}}
        if status in (429, 503):
            refused["headers"]["Retry-After"] = {
                "description": "Seconds after which to try again, where that helps.",
                "schema": {"type": "string", "pattern": "^[0-9]+$"},
            }
        if operation.method != "HEAD":
            refused["content"] = {"application/json": {"schema": ref("Error")}}
        if operation.path == "/api/auth/check":
            refused.pop("content", None)
        responses[str(status)] = refused
    return responses


_KEY: Final[Json] = {
    "idempotencyKey": {
        "type": ["string", "null"],
        "maxLength": 255,
        "description": "In place of the header Idempotency-Key, which wins.",
    }
}


def _body_schema(operation: Operation, model: Model | None) -> Json | None:
    if operation.body is None:
        return None
    if model is None or operation.body:
        return operation.body
    # Which fields have a default is the database's knowledge: none is called required here.
    data = {"data": or_null(ref(f"{model.typename}Data"))}
    if operation.method == "POST":
        return object_of({}, {**data, "id": or_null(_id_schema(model)), **GUARDS, **_KEY}, closed=True)
    if operation.method == "PATCH":
        return object_of({}, {**data, **GUARDS, **_KEY}, closed=True)
    return object_of({}, {**GUARDS, **_KEY}, closed=True)


# --- models ---------------------------------------------------------------------------------------------------------


def _row_schema(model: Model) -> Json:
    """A row as it is read: every field, null where a value may be missing."""
    properties = {f.name: _field_schema(f) for f in model.fields}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _data_schema(model: Model) -> Json:
    """What a write may say of a row."""
    return {
        "type": "object",
        "properties": {f.name: _field_schema(f) for f in model.fields if not (f.base or f.readonly)},
        "additionalProperties": False,
    }


def _field_schema(f: Field) -> Json:
    schema = _value_schema(f)
    if f.array:
        schema = {"type": "array", "items": or_null(schema)}
    return schema if f.required or not schema else or_null(schema)


_INTEGER_BITS: Final = {"smallint": 15, "integer": 31}


def _value_schema(f: Field) -> Json:
    if f.enum_values is not None:
        return {"enum": list(f.enum_values)}
    match f.kind:
        case Kind.INTEGER:
            bits = _INTEGER_BITS.get(f.sql_type, 53)
            whole: Json = {"type": "integer", "minimum": -(2**bits), "maximum": 2**bits - 1}
            if f.sql_type in _INTEGER_BITS:
                return whole
            return {"anyOf": [whole, {"type": "string", "pattern": "^-?[0-9]{1,18}$"}]}
        case Kind.FLOAT:
            return {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
        case Kind.DECIMAL:
            return {
                "anyOf": [{"type": "number"}, {"type": "string", "pattern": "^(-?[0-9]+(\\.[0-9]+)?|NaN|-?Infinity)$"}]
            }
        case Kind.BOOLEAN:
            return FLAG
        case Kind.TIMESTAMPTZ:
            return TIME
        case Kind.TIMESTAMP:
            return TEXT
        case Kind.DATE:
            return {"type": "string", "format": "date"}
        case Kind.UUID:
            return {"type": "string", "format": "uuid"}
        case Kind.JSON:
            return {}
        case Kind.BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        case _:
            return TEXT
