"""The reader's own connection, on a real Valkey behind a line that a test breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from telemetry_app.faust_redis import read_connection
from telemetry_app.faust_redis.connection import close, connect
from telemetry_app.faust_redis.read_connection import ReadConnection
from tests.conftest import ProxyFactory
from tests.servers.proxy import TcpProxy, url_through
from tests.support import eventually


@pytest.fixture
async def line(redis_url: str, tcp_proxy: ProxyFactory) -> TcpProxy:
    """The network between the connection and Redis."""
    parts = urlsplit(redis_url)
    return await tcp_proxy(parts.hostname, parts.port)


@pytest.fixture
async def connection(line: TcpProxy, redis_url: str) -> AsyncIterator[ReadConnection]:
    client = connect(url_through(line, redis_url))
    yield ReadConnection(client)
    await close(client)


async def test_a_late_reply_is_nobodys(
    line: TcpProxy, connection: ReadConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command without an answer ends in a timeout; the answer that comes later is not taken for the next one's."""
    assert await connection.execute("ECHO", "before") == b"before"
    monkeypatch.setattr(read_connection, "REPLY_TIMEOUT_S", 0.3)
    line.stall()
    with pytest.raises(TimeoutError):
        await connection.execute("ECHO", "late")
    monkeypatch.undo()
    line.flow()
    assert await connection.execute("ECHO", "after") == b"after"


async def test_an_abandoned_reply_is_nobodys(redis: Redis, connection: ReadConnection, stream: str) -> None:
    """Nor is the answer to a command that was cancelled while it waited."""
    waiting = asyncio.create_task(connection.execute("XREAD", "BLOCK", 0, "STREAMS", stream, "0"))

    async def is_waiting() -> bool:
        clients: Any = await redis.client_list()
        return any(client["cmd"] == "xread" and "b" in client["flags"] for client in clients)

    await eventually(is_waiting)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await redis.xadd(stream, {"n": 1})
    assert await connection.execute("ECHO", "after") == b"after"


async def test_a_cut_line(line: TcpProxy, connection: ReadConnection) -> None:
    """A connection that broke while nothing was asked costs one command; the next one has a new connection."""
    assert await connection.execute("ECHO", "before") == b"before"
    line.cut()
    with pytest.raises(RedisConnectionError):
        await connection.execute("ECHO", "lost")
    assert await connection.execute("ECHO", "after") == b"after"
