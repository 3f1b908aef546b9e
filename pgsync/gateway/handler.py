"""What a route is made of: an answer, and the function that gives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from pgsync.gateway.authenticate import Credential

REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""The id of the request that is being answered."""

Segments = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response before it has headers of its own."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[web.BaseRequest, Credential, Segments], Awaitable[bytes | Answer | web.StreamResponse]]
"""Takes the request, its caller and the segments of its path, still percent-encoded.

A response that it gives itself has been sent.
"""


class HasRoutes(Protocol):
    """Something that answers requests."""

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """Its paths, with an empty segment where any text may stand, and its handlers by method."""
