"""Puts a gateway together and runs it: pools, stream, routes and the HTTP server, opened in order and closed in
reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from pgsync.config import GatewayConfig
from pgsync.gateway.accounts import Accounts
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Authenticator, seconds_until
from pgsync.gateway.bootstrap import Bootstrap
from pgsync.gateway.changes import Changes
from pgsync.gateway.claims import Claims
from pgsync.gateway.commit_queue import CommitQueue
from pgsync.gateway.commit_records import CommitRecords
from pgsync.gateway.commits import Committer
from pgsync.gateway.connections import Connections
from pgsync.gateway.coordination import Coordination
from pgsync.gateway.cors import Cors
from pgsync.gateway.credentials import Credentials, SessionEnder, ended_credentials
from pgsync.gateway.database import Database
from pgsync.gateway.jwt import JwtVerifier
from pgsync.gateway.live import Live
from pgsync.gateway.logs import Logs
from pgsync.gateway.memberships import Memberships
from pgsync.gateway.metrics import CommitMeasures, Metrics
from pgsync.gateway.models import Models
from pgsync.gateway.notifications import Notifications
from pgsync.gateway.openapi import OpenApi
from pgsync.gateway.premises import Premises
from pgsync.gateway.routes import Routes
from pgsync.gateway.schema import Schema, SchemaReceiver
from pgsync.gateway.sync_reads import SyncReads
from pgsync.gateway.worker_metrics import handed_out, measures_of_all
from pgsync.log import Event, emit
from pgsync.stream.feed import Feed
from pgsync.stream.source import Connect

SHUTDOWN_SECONDS: Final = 5.0
KEEPALIVE_SECONDS: Final = 75.0
LOCK_SECONDS: Final = 10.0  # clients give a request 30 s, and every writer who waits holds a connection


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that serves; `port` is the one it listens on, also when any free one was asked for."""

    host: str
    port: int
    feed: Feed

    @property
    def url(self) -> str:
        """The origin of its HTTP routes."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Worker:
    """One of several processes that serve on one port.

    `connect` gives it the log that one of them reads for all, `directory` is where they meet.
    """

    number: int
    connect: Connect
    directory: Path


async def run(
    config: GatewayConfig,
    *,
    receive_schema: SchemaReceiver | None = None,
    worker: Worker | None = None,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGINT or SIGTERM, or until `stop` is set. `on_ready` is called when it does.

    Raises what keeps it from starting, such as UnsafeRoleError, and what ends the stream for good.
    """
    stop, ready = stop or asyncio.Event(), asyncio.Event()

    async def serve_until_stopped() -> None:
        async with serve(config, receive_schema=receive_schema, worker=worker) as gateway:
            ready.set()
            on_ready()
            ended = asyncio.create_task(gateway.feed.ended())
            try:
                await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    await ended  # what ended the stream for good ends the gateway
            finally:
                ended.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    serving = asyncio.create_task(serve_until_stopped())
    try:
        await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set() and not serving.done():
            serving.cancel()  # it may wait for a slot that another gateway reads, however long
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    finally:
        stopping.cancel()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def serve(
    config: GatewayConfig, *, receive_schema: SchemaReceiver | None = None, worker: Worker | None = None
) -> AsyncIterator[Gateway]:
    """A gateway that serves as long as the block runs.

    `receive_schema` takes what comes over `POST /api/schema`; without it that route refuses.
    """
    reads = Database(
        config.database_url,
        size=config.read_pool_size,
        application_name="pgsync gateway reads",
        namespaces=(),
    )
    writes = Database(
        config.database_url,
        size=config.write_pool_size,
        application_name="pgsync gateway writes",
        lock_timeout_seconds=LOCK_SECONDS,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(reads.close)
        stack.push_async_callback(writes.close)
        await reads.check_role()
        schema = ServedSchema(reads)
        schema.on_changed(lambda: reads.look_in(schema.namespaces))
        await schema.refresh()
        feed = Feed(
            config.listener_url,
            deployment=config.deployment,
            failover=config.slot_failover == "on",
            connect=None if worker is None else worker.connect,
            ring_bytes=config.ring_bytes,
            ring_seconds=config.ring_seconds,
        )
        feed.on_schema_changed(schema.offer)
        stack.push_async_callback(feed.stop)
        await feed.start()

        authenticator = Authenticator(reads, jwt=JwtVerifier(config))
        queue = CommitQueue(writes)
        stack.push_async_callback(queue.close)
        measures = CommitMeasures()
        committer = Committer(writes, queue, schema, feed, confirm_seconds=config.confirm_seconds, measures=measures)
        bootstrap = Bootstrap(reads, schema, feed)
        coordination = Coordination(reads=reads, writes=writes, schema=schema, feed=feed, authenticator=authenticator)
        coordinating = asyncio.create_task(coordination.run(), name="coordination")
        stack.push_async_callback(_end, coordinating)
        connections = Connections(
            most=config.connection_limit, most_per_participant=config.participant_connection_limit
        )
        cors = Cors(config.cors_origin)
        memberships = Memberships(reads, schema, feed)
        live = Live(
            feed=feed,
            authenticator=authenticator,
            bootstrap=bootstrap,
            committer=committer,
            coordination=coordination,
            memberships=memberships,
            connections=connections,
            cors=cors,
            frame_limit_bytes=config.body_limit_bytes,
        )
        changes = Changes(
            feed=feed,
            database=reads,
            schema=schema,
            connections=connections,
            memberships=memberships,
            cors=cors,
            snapshots=max(config.read_pool_size // 2, 1),
        )

        def on_schema_changed() -> None:
            authenticator.forget_all()  # what memberships grant is part of what is known of a caller
            connections.end_outdated(schema.edge_kinds)

        schema.on_changed(on_schema_changed)
        metrics = Metrics(
            access=config.metrics,
            commits=measures,
            connections=connections,
            feed=feed,
            schema=schema,
            pools={"reads": reads, "writes": writes},
            for_all=None if worker is None else partial(measures_of_all, worker.directory, config.workers),
        )
        if worker is not None:
            await stack.enter_async_context(handed_out(worker.directory, worker.number, metrics.text))
        sessions = SessionEnder(authenticator, connections.close_sessions_of)
        claims = Claims(writes, schema)
        routes = Routes(
            authenticator=authenticator,
            models=Models(reads, schema, feed),
            committer=committer,
            schema_routes=Schema(reads, schema, receive_schema),
            bootstrap=bootstrap,
            live=live,
            schema=schema,
            feed=feed,
            cors=cors,
            metrics=metrics,
            body_limit_bytes=config.body_limit_bytes,
            worker=None if worker is None else worker.number,
            others=[
                changes,
                SyncReads(reads, schema, feed),
                Credentials(writes, end_sessions=sessions.end),
                CommitRecords(reads, feed, Premises(reads, schema, feed)),
                Logs(reads, schema, feed),
                Accounts(reads, feed),
                OpenApi(schema),
                claims,
            ],
        )

        async def on_message(message: Mapping[str, Any]) -> None:
            # Anybody may notify, so what is said here is a reason to look and nothing else.
            match message:
                case {"t": "schema"}:
                    await schema.refresh()
                case {"t": "revoked" | "rotated", "capabilityId": str(capability_id)}:
                    authenticator.forget(capability_id)
                    await end_ended({capability_id})

        async def on_gap() -> None:
            authenticator.forget_all()
            await schema.refresh()
            await end_ended(connections.capability_ids)

        async def end_ended(capability_ids: Collection[str]) -> None:
            for capability_id, status, expires_at in await ended_credentials(reads, capability_ids):
                if status == "revoked" or expires_at is None:
                    closed = sessions.end(capability_id)
                    emit(Event.CREDENTIAL_REVOKED, capability_id=capability_id, sessions_closed=closed)
                else:
                    end_later(capability_id, expires_at)

        def end_later(capability_id: str, expires_at: str) -> None:
            end = partial(connections.close_sessions_of, capability_id, expired=True)
            asyncio.get_running_loop().call_later(seconds_until(expires_at), end)

        notifications = Notifications(config.database_url, on_message=on_message, on_gap=on_gap)
        listening = asyncio.create_task(notifications.run(), name="notifications")
        stack.push_async_callback(_end, listening)

        sweeping = asyncio.create_task(claims.sweep(), name="claims sweep")
        stack.push_async_callback(_end, sweeping)

        runner = web.ServerRunner(
            routes.server(), shutdown_timeout=SHUTDOWN_SECONDS, keepalive_timeout=KEEPALIVE_SECONDS
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.push_async_callback(connections.close)
        site = web.TCPSite(runner, config.host, config.port, reuse_port=worker is not None)
        await site.start()
        port = runner.addresses[0][1]
        emit(
            Event.GATEWAY_STARTED,
            host=config.host,
            port=port,
            deployment=config.deployment,
            schema_version=schema.current.version,
        )
        try:
            yield Gateway(config.host, port, feed)
        finally:
            emit(Event.GATEWAY_STOPPING, sessions=len(connections))
    emit(Event.GATEWAY_STOPPED)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
