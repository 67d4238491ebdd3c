"""Who is alive, by a list in a real Redis."""

from collections.abc import AsyncIterator

import pytest

from faust_redis.group.members import Members
from faust_redis.redis.client import Client, close, connect
from tests.support.waiting import eventually


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    client = connect(redis_url)
    yield client
    await close(client)


async def test_members_know_each_other(client: Client, stream: str) -> None:
    """Whoever announces itself is told who else is alive, in order, until the other leaves."""
    one, two = (Members(client, stream, instance_id=name, silence_ms=60_000) for name in ("one", "two"))
    assert await two.heartbeat() == ["two"]
    assert await one.heartbeat() == ["one", "two"]
    await two.leave()
    assert await one.heartbeat() == one.alive == ["one"]


async def test_the_silent_are_gone(client: Client, stream: str) -> None:
    """Who was silent for too long is no longer listed, though it never left."""
    await Members(client, stream, instance_id="silent", silence_ms=60_000).heartbeat()
    hasty = Members(client, stream, instance_id="hasty", silence_ms=300)
    assert await hasty.heartbeat() == ["hasty", "silent"]

    async def is_alone() -> bool:
        return await hasty.heartbeat() == ["hasty"]

    await eventually(is_alone)
