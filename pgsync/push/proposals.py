"""Schemas that came over HTTP: a gateway may store one, and somebody with rights pushes it.

A proposal is read and checked like any other schema; that it waits in the database gives it no right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgsync import sqlfiles
from pgsync.errors import PgsyncError
from pgsync.schema import Schema, SchemaError


@dataclass(frozen=True, slots=True)
class Proposal:
    """A schema as it was sent; `hash` is the contract's, `proposed_by` is `<kind>:<id>` of the participant.

    `options`: `force`, `renames` and `backfills` as they were sent.
    """

    hash: str
    document: Mapping[str, Any]
    options: Mapping[str, Any]
    proposed_at: datetime
    proposed_by: str


def read_proposals(conninfo: str) -> list[Proposal]:
    """What waits for a push, newest first; nothing in a database without pgsync."""
    with psycopg.connect(conninfo, application_name="pgsync push", client_encoding="UTF8") as connection:
        row = connection.execute(
            "SELECT pg_catalog.to_regclass('pgsync_private.schema_proposal') IS NOT NULL"
        ).fetchone()
        if row is None or not row[0]:
            return []
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(sqlfiles.read("push/proposals.sql").encode()).fetchall()
    return [Proposal(**row) for row in rows]


def schema_of_wire(document: object) -> Schema:
    """The schema that a SchemaJSON declares. Raises PgsyncError with the code of its first problem and all `errors`."""
    try:
        return Schema.from_json(document)
    except SchemaError as exc:
        problems = [
            {
                "code": problem.code,
                "message": f"{problem.message}; {problem.remedy}",
                "param": ".".join(filter(None, (problem.model, problem.field))),
            }
            for problem in exc.problems
        ]
        raise PgsyncError(exc.code, str(exc), details={"errors": problems}) from exc
