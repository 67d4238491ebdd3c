"""Reading streams again, on a real Valkey."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from faust_redis.broadcast.replay import StreamReplay, StreamTips
from faust_redis.redis.errors import Misconfigured, Unavailable
from faust_redis.redis.replies import BEFORE_ALL, EntryId
from tests.conftest import ProxyFactory


@pytest.fixture
async def replay(redis_url: str) -> AsyncIterator[StreamReplay]:
    replay = StreamReplay(redis_url)
    yield replay
    await replay.close()


async def test_tips_say_what_a_stream_can_still_give(redis: Redis, replay: StreamReplay, stream: str) -> None:
    """The oldest entry, the last id, and whether anything was ever removed; a stream that is not there is empty."""
    client: Any = redis
    assert await replay.tips([stream]) == [StreamTips(None, BEFORE_ALL, complete=True)]
    for number in (1, 2, 3):
        await client.xadd(stream, {"n": number}, id=f"5-{number}")
    assert await replay.tips([stream]) == [StreamTips(EntryId(5, 1), EntryId(5, 3), complete=True)]
    await client.xtrim(stream, maxlen=2, approximate=False)
    assert await replay.tips([stream]) == [StreamTips(EntryId(5, 2), EntryId(5, 3), complete=False)]


async def test_a_page_is_what_lies_between_two_ids(redis: Redis, replay: StreamReplay, stream: str) -> None:
    """A page has the entries behind the first id up to the second, as they were added."""
    client: Any = redis
    for number in (1, 2, 3, 4):
        await client.xadd(stream, {"n": number}, id=f"5-{number}")
    page = await replay.page(stream, EntryId(5, 1), EntryId(5, 3))
    assert page == [(b"5-2", [b"n", b"2"]), (b"5-3", [b"n", b"3"])]
    assert await replay.page(stream, EntryId(5, 4), EntryId(9, 0)) == []


async def test_errors_are_the_transports_own(
    redis: Redis, replay: StreamReplay, stream: str, redis_url: str, tcp_proxy: ProxyFactory
) -> None:
    """Who reads a stream again needs to know no Redis client: it waits for what passes, and is told what does not."""
    await redis.set(stream, "in the way")
    with pytest.raises(Misconfigured, match="WRONGTYPE"):
        await replay.tips([stream])
    with pytest.raises(Misconfigured, match="WRONGTYPE"):
        await replay.page(stream, EntryId(0, 0), EntryId(9, 0))
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    proxy = await tcp_proxy(host, int(port))
    away = StreamReplay(f"redis://{host}:{proxy.port}/0")
    assert await away.tips([]) == []
    await proxy.refuse()
    with pytest.raises(Unavailable, match="at present: ConnectionError"):
        await away.tips([stream])
    await away.close()
