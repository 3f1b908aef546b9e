"""`GET /metrics` in Prometheus's text form: a closed list of measures, with label values that are known beforehand.

Never row data, ids, keys or organizations. What something else keeps anyway is read when a scraper asks; only commits
are counted as they happen.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pgsync.errors import PgsyncError
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.connections import Connections
from pgsync.gateway.database import Database
from pgsync.stream.feed import Feed

PATH: Final = "/metrics"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
_OUTCOMES: Final = ("confirmed", "queued", "refused", "failed")
T = TypeVar("T")


class CommitMeasures:
    """Counts commits by outcome, with the time from the request's arrival to its answer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._commits = Counter(
            "pgsync_commits",
            "Commits: confirmed, queued (committed, not yet seen in the log), refused by rule, or failed.",
            ["outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "pgsync_commit_seconds", "From a commit's arrival to its receipt.", buckets=_BUCKETS, registry=self.registry
        )
        for outcome in _OUTCOMES:
            self._commits.labels(outcome)

    async def measure(self, committing: Awaitable[T]) -> T:
        """The receipt, or what was raised in its place."""
        started = time.perf_counter()
        outcome = "failed"
        try:
            answer = await committing
            receipt = answer[0] if isinstance(answer, tuple) else answer
            is_queued = isinstance(receipt, bytes) and b'"status":"queued"' in receipt
            outcome = "queued" if is_queued else "confirmed"
            self._seconds.observe(time.perf_counter() - started)
        except PgsyncError as error:
            outcome = "refused" if error.status < 500 else "failed"
            raise
        finally:
            self._commits.labels(outcome).inc()
        return answer


class Metrics:
    """Answers scrapers. `access` is all, loopback (callers on this machine) or none.

    `for_all` gives what scrapers are told when this gateway is one of several processes, in place of its own `text`.
    """

    def __init__(
        self,
        *,
        access: str,
        commits: CommitMeasures,
        connections: Connections,
        feed: Feed,
        schema: ServedSchema,
        pools: Mapping[str, Database],
        for_all: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._access = access
        self._connections = connections
        self._feed = feed
        self._schema = schema
        self._pools = pools
        self._for_all = for_all
        self._registry = commits.registry
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def may_see(self, request: web.BaseRequest) -> bool:
        """Whether this caller is one whom the operator lets see them.

        What a proxy on this machine passes on comes from elsewhere, whatever the connection's address says.
        """
        if self._access != "loopback":
            return self._access == "all"
        if any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")):
            return False
        try:
            address = ipaddress.ip_address((request.remote or "").partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    async def answer(self) -> bytes:
        """What a scraper is told."""
        return self.text() if self._for_all is None else await self._for_all()

    def text(self) -> bytes:
        """What this process measures."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What is read at the moment of the scrape."""
        feed, ring = self._feed, self._feed.ring
        yield _labelled("pgsync_connections", "Live connections.", "kind", self._connections.by_kind())
        yield GaugeMetricFamily("pgsync_connection_limit", "Most live connections.", self._connections.most)
        yield GaugeMetricFamily("pgsync_stream_connected", "Whether the log is being read.", int(feed.is_connected))
        yield GaugeMetricFamily("pgsync_stream_lag_bytes", "Log that was not read yet.", feed.lag_bytes)
        yield GaugeMetricFamily("pgsync_stream_lag_seconds", "For how long it has been there.", feed.lag_seconds)
        yield GaugeMetricFamily("pgsync_stream_last_sync_id", "The last sync id streamed.", feed.head)
        retained = None if feed.slot_state is None else feed.slot_state.retained_bytes
        if retained is not None:
            yield GaugeMetricFamily("pgsync_slot_retained_bytes", "Log that the server keeps for the slot.", retained)
        yield GaugeMetricFamily("pgsync_ring_bytes", "Memory of what may be resumed from.", ring.size_bytes)
        yield GaugeMetricFamily("pgsync_ring_transactions", "Transactions in it.", len(ring))
        yield GaugeMetricFamily(
            "pgsync_checkpoint_age_seconds",
            "Since the last checkpoint, if it lacks anything.",
            feed.checkpoint_age_seconds,
        )
        yield CounterMetricFamily(
            "pgsync_readers_fallen", "Readers that were slower than the ring.", feed.router.fallen
        )
        yield GaugeMetricFamily("pgsync_schema_version", "The schema version in force.", self._schema.current.version)
        used, free, waiting = (dict.fromkeys(self._pools, 0.0) for _ in range(3))
        for name, pool in self._pools.items():
            stats = pool.stats
            free[name] = stats.get("pool_available", 0)
            used[name] = stats.get("pool_size", 0) - free[name]
            waiting[name] = stats.get("requests_waiting", 0)
        yield _labelled("pgsync_pool_used", "Database connections in use.", "pool", used)
        yield _labelled("pgsync_pool_free", "Database connections that are open and free.", "pool", free)
        yield _labelled("pgsync_pool_waiting", "Requests that wait for one.", "pool", waiting)


def _labelled(name: str, said: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, said, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
