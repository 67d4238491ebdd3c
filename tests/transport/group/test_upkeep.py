"""What is done now and then for the partitions held, without an application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from faust_redis.group.holdings import Holdings
from faust_redis.group.upkeep import Upkeep
from faust_redis.options import RedisOptions
from faust_redis.redis.client import close, connect
from faust_redis.stream.partition import Partition
from tests.support.observed import TransportObserved
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, names
from tests.transport.conftest import Stream


class Desk:
    """The upkeep of some partitions."""

    def __init__(self, url: str, alive: set[str], **options: Any) -> None:
        self.client = connect(url)
        self.holdings = Holdings()
        self.observer = TransportObserved()
        chosen = RedisOptions(observer=self.observer, **options)
        self.upkeep = Upkeep(self.client, self.holdings, group=GROUP, options=chosen, alive=lambda: alive)

    def hold(self, stream: str) -> Partition:
        partition = Partition((stream, 0), stream, "token")
        partition.claiming = None
        self.holdings.add([partition])
        return partition


@contextlib.asynccontextmanager
async def keeping(url: str, alive: set[str], **options: Any) -> AsyncIterator[Desk]:
    desk = Desk(url, alive, **options)
    try:
        yield desk
    finally:
        await close(desk.client)


async def test_idle_entries_are_looked_for(records: Stream, redis_url: str) -> None:
    """Each partition is told to look for entries that were idle for as long as the options say."""
    await records.redis.xgroup_create(records.name, GROUP, mkstream=True)
    async with keeping(redis_url, set(), redeliver_after_ms=400) as desk:
        partition = desk.hold(records.name)
        async with desk.upkeep:
            await eventually(lambda: partition.claiming)
        assert partition.claiming is not None
        assert partition.claiming.min_idle_ms == 400


async def test_members_that_are_gone_are_removed(records: Stream, redis_url: str) -> None:
    """Group members that are gone and hold nothing are removed; live ones, and those with pending entries, stay."""
    await records.publish(["held"])
    await records.redis.xgroup_create(records.name, GROUP, id="0")
    await records.redis.xreadgroup(GROUP, "holds one", {records.name: ">"})
    for name in ("gone", "alive"):
        await records.redis.xgroup_createconsumer(records.name, GROUP, name)

    async def members() -> set[str]:
        return {info["name"].decode() for info in await records.redis.xinfo_consumers(records.name, GROUP)}

    async def removed() -> bool:
        return "gone" not in await members()

    async with keeping(redis_url, {"alive"}, redeliver_after_ms=400) as desk:
        partition = desk.hold(records.name)
        async with desk.upkeep:
            # While somebody else has the lease the members are that one's business.
            await records.redis.set(records.lease, "somebody else#1")
            await eventually(lambda: partition.claiming)
            partition.claiming = None
            await eventually(lambda: partition.claiming)
            assert "gone" in await members()
            await records.redis.set(records.lease, "token")
            await eventually(removed)
    assert await members() == {"alive", "holds one"}


async def test_the_lag_is_that_of_all_partitions(records: Stream, redis_url: str) -> None:
    """The lag is the number of entries that the group has not read, over all partitions held."""
    streams = [f"{records.name}:{number}" for number in range(2)]
    for number, stream in enumerate(streams):
        await records.publish(names("r", 3 + number), stream=stream)
        await records.redis.xgroup_create(stream, "another group", id="0")
        await records.redis.xgroup_create(stream, GROUP, id="0")
    await records.redis.xreadgroup(GROUP, "me", {streams[0]: ">"}, count=1)
    async with keeping(redis_url, set(), lag_interval_s=0.1) as desk:
        for stream in streams:
            desk.hold(stream)
        async with desk.upkeep:
            await eventually(lambda: desk.observer.lags)
        assert desk.observer.lags[0] == 2 + 4


@pytest.mark.parametrize("why", ["unknown", "failing"])
async def test_a_lag_that_redis_does_not_know_is_none(records: Stream, redis_url: str, why: str) -> None:
    """When one partition's lag is unknown, as of a group made in mid-stream, or cannot be asked, so is the sum."""
    await records.publish(names("r", 3))
    await records.redis.xgroup_create(records.name, GROUP, id="0")
    other = f"{records.name}:1"
    if why == "failing":
        await records.redis.set(other, "in the way")
    else:
        ids = await records.publish(names("r", 3), stream=other)
        await records.redis.xgroup_create(other, GROUP, id=ids[1])
    async with keeping(redis_url, set(), lag_interval_s=0.1) as desk:
        desk.hold(records.name)
        desk.hold(other)
        async with desk.upkeep:
            await eventually(lambda: desk.observer.lags)
        assert desk.observer.lags[0] is None
