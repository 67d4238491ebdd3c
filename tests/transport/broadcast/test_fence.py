"""Who may have lost its name leaves alone the group that another process may have by now."""

from __future__ import annotations

import asyncio
from functools import partial

from redis.asyncio import Redis

from tests.support.waiting import eventually
from tests.transport.broadcast.test_reader import add, fails_with, groups, is_ready, reading

#: How long nothing must be read.
MUST_NOT_S = 0.5


async def test_nothing_is_read_in_anothers_name(redis: Redis, redis_url: str, stream: str) -> None:
    """While its name may be another's a reader reads nothing and is not ready; afterwards it goes on without a gap."""
    async with reading(redis_url, stream) as desk:
        await add(redis, stream, range(3))
        await desk.has([0, 1, 2])
        desk.may_read = False
        await eventually(partial(fails_with, desk, "another process may have this one's name"))
        await add(redis, stream, range(3, 6))
        await asyncio.sleep(MUST_NOT_S)
        assert [group["lag"] for group in await redis.xinfo_groups(stream)] == [3]
        desk.may_read = True
        await desk.has([0, 1, 2, 3, 4, 5])
        await eventually(partial(is_ready, desk))


async def test_anothers_group_is_not_destroyed(redis: Redis, redis_url: str, stream: str) -> None:
    """A reader that ends while its name may be another's leaves the group."""
    async with reading(redis_url, stream) as desk:
        desk.may_read = False
        await eventually(partial(fails_with, desk, "another process"))
    assert await groups(redis, stream) == ["live-broadcast-one"]
