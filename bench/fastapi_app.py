"""What one would write without pgsync: FastAPI and asyncpg, an UPDATE that returns the row, and nothing else.

No authentication, no idempotency, no change log, nobody who learns of the change.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it has no annotations
from fastapi import FastAPI, HTTPException

from bench.world import ORGANIZATION

POOL_SIZE: Final = 16  # as many connections as a gateway writes over
UPDATE: Final = """
    UPDATE bench.bare_task SET title = $3, updated_at = now() WHERE organization_id = $1 AND id = $2
    RETURNING id, organization_id, created_at, updated_at, created_by, title, status, priority
"""


@dataclass
class Change:
    """The body of a request."""

    title: str


@dataclass
class Task:
    """The body of an answer."""

    id: str
    organization_id: str
    created_at: datetime
    updated_at: datetime
    created_by: str | None
    title: str
    status: str
    priority: int


def create() -> FastAPI:
    """The application; it opens its pool when it starts."""
    pool: Any = None

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal pool
        async with asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=POOL_SIZE, max_size=POOL_SIZE) as pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> None:
        pass

    @app.patch("/tasks/{task_id}")
    async def update(task_id: str, change: Change) -> Task:
        row = await pool.fetchrow(UPDATE, ORGANIZATION, task_id, change.title)
        if row is None:
            raise HTTPException(404)
        return Task(**row)

    return app
