"""Whoever takes the batches says how long records gather before they are read."""

from __future__ import annotations

import asyncio
from math import inf

from redis.asyncio import Redis

from tests.support.waiting import eventually
from tests.transport.broadcast.test_fence import MUST_NOT_S
from tests.transport.broadcast.test_reader import add, reading


async def test_a_rest_lasts_until_another_one_is_asked_for(redis: Redis, redis_url: str, stream: str) -> None:
    """A reader that rests for no known time reads nothing; when it is told a time it goes on after that."""
    async with reading(redis_url, stream) as desk:
        desk.open.clear()
        await add(redis, stream, range(1))
        await eventually(lambda: desk.is_handed_more, message="the first entry is handed over")
        desk.reader.rest(inf)
        desk.open.set()
        await add(redis, stream, range(1, 4))
        await asyncio.sleep(MUST_NOT_S)
        assert [group["lag"] for group in await redis.xinfo_groups(stream)] == [3]
        desk.reader.rest(0.01)
        await desk.has([0, 1, 2, 3])


async def test_what_waits_need_not_gather(redis: Redis, redis_url: str, stream: str) -> None:
    """While reads come full the reader does not rest."""
    async with reading(redis_url, stream, batch_size=10) as desk:
        desk.open.clear()
        async with redis.pipeline(transaction=True) as together:
            for number in range(35):
                together.xadd(stream, {"n": number})
            await together.execute()
        await eventually(lambda: desk.is_handed_more, message="the first entries are handed over")
        desk.reader.rest(inf)
        desk.open.set()
        await desk.has(list(range(35)))
