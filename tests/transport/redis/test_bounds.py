"""However much Redis has to say, a worker takes only so much of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from faust_redis.redis import bounds
from faust_redis.redis.client import Client, close, connect, execute
from faust_redis.redis.errors import ReplyTooLarge
from faust_redis.redis.wire import DirectConnection
from tests.transport.conftest import Stream

MOST = 100_000
Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def most_bytes(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(bounds, "MOST_REPLY_BYTES", MOST)
    return MOST


@pytest.fixture(params=["server", "RESP2", "cluster"])
async def client(request: pytest.FixtureRequest, redis_url: str, cluster: Stream) -> AsyncIterator[Client]:
    """A client of each kind."""
    urls = {"server": redis_url, "RESP2": f"{redis_url}?protocol=2", "cluster": cluster.redis_url}
    client = connect(urls[request.param], bounded=True)
    yield client
    await close(client)


@pytest.fixture(params=["client", "wire"])
def ask(request: pytest.FixtureRequest, client: Client) -> Ask:
    """A command by way of the client, or of the reader's own connection."""
    if request.param == "wire":
        return DirectConnection(client).execute
    return lambda *args: execute(client, *args)


async def test_a_reply_that_is_too_large_ends_before_it_is_there(ask: Ask, stream: str, most_bytes: int) -> None:
    """What does not fit raises, many small values as one large one; the next command is answered all the same."""
    largest = most_bytes - 100
    await ask("RPUSH", stream, *(["x" * 1000] * 90), "y" * largest)
    assert await ask("LINDEX", stream, -1) == b"y" * largest
    assert len(await ask("LRANGE", stream, 0, 89)) == 90
    for _ in range(2):
        with pytest.raises(ReplyTooLarge):
            await ask("LRANGE", stream, 0, -1)
        assert await ask("LRANGE", stream, 0, 0) == [b"x" * 1000]
    assert await ask("DEL", stream) == 1


async def test_people_may_see_everything(redis_url: str, stream: str, most_bytes: int) -> None:
    """A client for a command is not bounded: it would show no large dead letter."""
    client = connect(redis_url)
    await execute(client, "SET", stream, "x" * 2 * most_bytes)
    assert len(await execute(client, "GET", stream)) == 2 * most_bytes
    await close(client)
