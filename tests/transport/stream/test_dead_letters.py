"""Looking at dead letters when Redis does not play along."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from faust_redis.redis import keys
from faust_redis.redis.client import close, connect
from faust_redis.redis.errors import FaustRedisError, Misconfigured, Unavailable
from faust_redis.stream.dead_letters import DeadLetter, DeadLetters
from tests.conftest import ProxyFactory
from tests.support.servers.proxy import url_through
from tests.transport.conftest import Stream

LETTER = DeadLetter("s", "1-1", "1-0", "it is broken", 5, [b"payload", b"x"])

ACTIONS: dict[str, Callable[[DeadLetters], Awaitable[Any]]] = {
    "count": lambda letters: letters.count(),
    "find": lambda letters: letters.find("1-1"),
    "replay": lambda letters: letters.replay(LETTER),
    "purge": lambda letters: letters.purge(),
}


async def fails_with(error: type[FaustRedisError], url: str, stream: str, action: str) -> None:
    client = connect(url)
    try:
        with pytest.raises(error):
            await ACTIONS[action](DeadLetters(client, [stream]))
    finally:
        await close(client)


@pytest.mark.parametrize("action", ACTIONS)
async def test_redis_that_is_away(records: Stream, redis_url: str, tcp_proxy: ProxyFactory, action: str) -> None:
    """Whatever is done with dead letters, a Redis that does not answer is something to wait for."""
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    line = await tcp_proxy(host, int(port))
    await line.refuse()
    await fails_with(Unavailable, url_through(line, redis_url), records.name, action)


@pytest.mark.parametrize("action", ["count", "find", "purge"])
async def test_a_key_in_the_way(records: Stream, redis_url: str, action: str) -> None:
    """A key of another type in their place is for people."""
    await records.redis.set(keys.dead_letters(records.name), "in the way")
    await fails_with(Misconfigured, redis_url, records.name, action)
