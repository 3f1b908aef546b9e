"""Which pages of other origins may use this gateway from a browser.

Callers are known by bearer keys, never by cookies, so an origin is not a question of whose browser it is; none is
allowed until the operator names it, and `*` allows all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import hdrs, web

from pgsync.errors import PgsyncError

ANY: Final = "*"
PREFLIGHT_SECONDS: Final = 7200  # the longest that browsers keep one

_METHODS: Final = "GET, HEAD, POST, PATCH, DELETE"
_HEADERS: Final = (
    "Authorization, Content-Type, Ablo-Protocol-Version, Idempotency-Key, If-Match, Last-Event-ID, Cache-Control"
)
_EXPOSED: Final = "X-Auth-Failure, x-request-id, ETag, Location, Retry-After, Ablo-Version"
_ASKED: Final = hdrs.ACCESS_CONTROL_REQUEST_HEADERS


class Cors:
    """Answers browsers for these origins, each as `scheme://host[:port]`."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may read answers."""
        return ANY in self._origins or origin.lower() in self._origins

    def headers(self, request: web.BaseRequest) -> Mapping[str, str]:
        """What an answer to this request has besides."""
        origin = request.headers.get(hdrs.ORIGIN)
        if not self._origins:
            return {}
        vary: dict[str, str] = {} if ANY in self._origins else {hdrs.VARY: str(hdrs.ORIGIN)}
        if origin is None or not self.allows(origin):
            return vary
        return vary | {
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: ANY if ANY in self._origins else origin,
            hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: _EXPOSED,
        }

    def preflight(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a browser that asks whether it may send a request; None when it is no such question."""
        if request.method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
            return None
        headers = dict(self.headers(request))
        if hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in headers:
            headers |= {
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _with(_HEADERS, request.headers.get(_ASKED, "")),
                hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_SECONDS),
            }
        return web.Response(status=204, headers=headers)

    def check_socket(self, request: web.BaseRequest) -> None:
        """Refuses the handshake of a page that could not use the routes either. Raises forbidden.

        A WebSocket has no preflight: browsers leave it to the server to look at the origin.
        """
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or self.allows(origin):
            return
        host = request.headers.get(hdrs.HOST, "").lower()
        if origin.lower() in (f"http://{host}", f"https://{host}"):
            return
        raise PgsyncError("forbidden", "pages of this origin may not use this server", param="Origin")


def _with(known: str, asked: str) -> str:
    """Clients may send headers of their own with every request: what is asked for is allowed, too."""
    names = {name.lower() for name in known.split(", ")}
    return ", ".join(
        (known, *(name for name in asked.replace(" ", "").split(",") if name and name.lower() not in names))
    )
