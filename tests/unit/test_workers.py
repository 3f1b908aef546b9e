"""The port of several workers is theirs alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from pgsync.cli.failure import explain
from pgsync.gateway.worker import ended
from pgsync.gateway.workers import reserve


@contextlib.contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    sockets, port = reserve(host, port)
    try:
        yield port
    finally:
        for kept in sockets:
            kept.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_reserved_port_is_taken_by_workers_only(host: str) -> None:
    with reserved(host, 0) as port:
        for _ in range(2):  # a worker, and the one that replaces it while its last connection is still known
            with socket.socket() as worker:
                worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                worker.bind(("127.0.0.1", port))
                worker.listen()
                with socket.create_connection(("127.0.0.1", port)) as client, worker.accept()[0]:
                    assert client.getpeername()[1] == port


def test_port_that_somebody_listens_on_is_refused_even_if_he_would_share_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError) as caught, reserved("127.0.0.1", other.getsockname()[1]):
            pass
    failure = explain(caught.value)
    assert failure is not None
    assert "port is in use" in failure.message


@pytest.mark.parametrize("has_read", [True, False])
async def test_worker_learns_of_the_end_of_its_parent_also_when_that_had_not_read_everything(has_read: bool) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(b"alive")
    await writer.drain()
    if has_read:
        assert theirs.recv(5) == b"alive"
    theirs.close()
    async with asyncio.timeout(20):
        await ended(reader)
    writer.close()
