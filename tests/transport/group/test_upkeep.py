"""What is done now and then for the partitions held, without an application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from faust_redis.group.holdings import Holdings
from faust_redis.group.upkeep import Upkeep
from faust_redis.options import RedisOptions
from faust_redis.redis.client import close, connect
from faust_redis.stream.partition import Partition
from faust_redis.stream.reader import Reader
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
        reader = Reader(self.client, group=GROUP, options=chosen)
        self.upkeep = Upkeep(
            self.client, self.holdings, group=GROUP, options=chosen, alive=lambda: alive, look=reader.look
        )

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


async def test_one_unknown_lag_leaves_the_others_known(records: Stream, redis_url: str) -> None:
    """The lag of a partition that Redis does not know, or that cannot be asked, is left out of the sum."""
    await records.publish(names("r", 3))
    await records.redis.xgroup_create(records.name, GROUP, id="0")
    unknown, failing = f"{records.name}:1", f"{records.name}:2"
    ids = await records.publish(names("r", 3), stream=unknown)
    await records.redis.xgroup_create(unknown, GROUP, id=ids[0])
    await records.redis.xdel(unknown, ids[1])
    await records.redis.set(failing, "in the way")
    async with keeping(redis_url, set(), lag_interval_s=0.1) as desk:
        for stream in (records.name, unknown, failing):
            desk.hold(stream)
        async with desk.upkeep:
            await eventually(lambda: desk.observer.lags)
        assert desk.observer.lags[0] == 3


async def test_a_lag_that_nobody_knows_is_none(records: Stream, redis_url: str) -> None:
    """When the lag of no partition is known the sum is not either, while the age of what waits is."""
    now_s = (await records.redis.time())[0]
    ids = [await records.redis.xadd(records.name, {"payload": "r"}, id=f"{now_s * 1000 - n}-0") for n in (3, 2, 1)]
    await records.redis.xgroup_create(records.name, GROUP, id=ids[0])
    await records.redis.xdel(records.name, ids[1])
    async with keeping(redis_url, set(), lag_interval_s=0.1) as desk:
        desk.hold(records.name)
        async with desk.upkeep:
            await eventually(lambda: len(desk.observer.ages) > 1)
        assert desk.observer.lags[0] is None
        first, second = desk.observer.ages[:2]
        assert first is not None
        assert second is not None
        assert 0 < first < second


async def test_the_age_is_that_of_the_oldest_unread_entry(records: Stream, redis_url: str) -> None:
    """The age is that of the oldest entry that the group has not read in any partition, by the server's clock."""
    now_s = (await records.redis.time())[0]
    streams = [f"{records.name}:{number}" for number in range(3)]
    for stream, age_s in zip(streams, (300, 600, 100), strict=True):
        await records.redis.xadd(stream, {"payload": "r"}, id=f"{(now_s - age_s) * 1000}-0")
        await records.redis.xgroup_create(stream, GROUP, id="0")
    await records.redis.xreadgroup(GROUP, "me", {streams[1]: ">"})
    async with keeping(redis_url, set(), lag_interval_s=0.1) as desk:
        for stream in streams:
            desk.hold(stream)
        async with desk.upkeep:
            await eventually(lambda: desk.observer.ages)
            assert desk.observer.ages[0] is not None
            assert 300 <= desk.observer.ages[0] < 400
            await records.redis.xreadgroup(GROUP, "me", dict.fromkeys(streams, ">"))
            await eventually(lambda: desk.observer.ages[-1] == 0, message="nothing waits any more")
