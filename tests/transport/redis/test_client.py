"""The client's own connections, on a real Valkey behind a line that a test breaks."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from faust_redis.redis.client import close, connect, execute
from tests.conftest import ProxyFactory
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually

CONNECTIONS = 5


@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "unbounded"])
@pytest.mark.parametrize("end", ["reset", "closed"])
async def test_idle_connections_that_ended_cost_no_command(
    redis: Redis, redis_url: str, tcp_proxy: ProxyFactory, end: str, *, bounded: bool
) -> None:
    """After an outage all commands succeed at once, however many connections were lost while nothing was asked."""
    parts = urlsplit(redis_url)
    assert parts.hostname is not None
    line = await tcp_proxy(parts.hostname, parts.port or 6379)
    client: Any = connect(url_through(line, redis_url), bounded=bounded)

    async def ask_at_once() -> set[int]:
        return set(await asyncio.gather(*(execute(client, "CLIENT", "ID") for _ in range(CONNECTIONS))))

    before = await ask_at_once()
    assert len(before) == CONNECTIONS
    if end == "reset":
        line.cut()
    else:
        for number in before:
            await redis.client_kill_filter(_id=str(number))
    idle = [connection._reader for connection in client.connection_pool._available_connections]
    await eventually(lambda: all(reader.exception() or reader.at_eof() for reader in idle))
    assert not before & await ask_at_once()
    await close(client)
