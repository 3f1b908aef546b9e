"""Credentials as an administrator makes them, for tests and benchmarks to act with."""

from __future__ import annotations

from typing import Any, Final

from psycopg.types.json import Jsonb

from pgsync import keys
from tests.postgres import Database

KINDS: Final[dict[keys.KeyKind, str]] = {"sk": "system", "rk": "agent", "ek": "user", "pk": "user"}
"""The kind of participant that a key of a kind acts as, unless told otherwise."""


def create_credential(
    database: Database, *, organization: str = "acme", kind: keys.KeyKind = "sk", participant: str = "ci", **more: Any
) -> tuple[str, dict[str, Any]]:
    """A new credential: its key, and its identity as `pgsync.authenticate_v1` gives it.

    `more` are members of the request of `pgsync.create_credential_v1`, also in place of those that are given here.
    """
    key = keys.generate(kind)
    request = {
        "keyHash": keys.digest(key).hex(),
        "keyKind": kind,
        "organizationId": organization,
        "participantKind": KINDS[kind],
        "participantId": participant,
    }
    ((identity,),) = database.execute("SELECT pgsync.create_credential_v1(%s)", [Jsonb(request | more)])
    return key, dict(identity)
