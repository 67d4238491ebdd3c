"""Trimming: what every group has acknowledged may go, nothing else, and no more than was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ResponseError

from faust_redis.group import upkeep
from faust_redis.group.holdings import Holdings
from faust_redis.group.upkeep import Upkeep
from faust_redis.options import RedisOptions, Retention
from faust_redis.redis.client import close, connect, execute
from faust_redis.redis.replies import streams
from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.commit import Committer
from faust_redis.stream.partition import Partition
from faust_redis.stream.reader import Reader
from faust_redis.stream.retention import Trimmer
from tests.support.observed import TransportObserved
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, names
from tests.transport.conftest import Stream

SPARED = "watch-"


class Shears:
    """A trimmer, the lease that it needs, and the stream."""

    def __init__(self, records: Stream) -> None:
        self.records = records
        self.client = connect(records.redis_url)
        self.observer = TransportObserved()
        self.ids: list[bytes] = []

    async def trim(self, retention: Retention, *, by: str = "token") -> int:
        """Trim, and return how many entries are left."""
        options = RedisOptions(observer=self.observer, spared_groups=SPARED)
        trimmer = Trimmer(self.client, group=GROUP, retention=retention, options=options)
        await trimmer.trim(self.records.name, by)
        return int(await self.records.redis.xlen(self.records.name))

    async def read(self, group: str, entries: int, *, acknowledged: int) -> None:
        """Let a group read so many more entries, and acknowledge so many of these."""
        reply = await self.records.redis.xreadgroup(group, "reader", {self.records.name: ">"}, count=entries)
        ids = [entry_id for entry_id, _ in reply[0][1]][:acknowledged]
        if ids:
            await self.records.redis.xack(self.records.name, group, *ids)


@pytest.fixture
async def shears(records: Stream) -> AsyncIterator[Shears]:
    made = Shears(records)
    await records.redis.set(records.lease, "token")
    for group in (GROUP, f"{SPARED}one"):
        await records.redis.xgroup_create(records.name, group, id="0", mkstream=True)
    yield made
    await close(made.client)


async def test_the_newest_entries_stay(shears: Shears) -> None:
    """Of what is acknowledged, as many go as are too many, however many these are."""
    await shears.records.publish(names("a", 3500))
    await shears.read(GROUP, 3500, acknowledged=3500)
    assert await shears.trim(Retention(entries=100)) == 100
    assert await shears.trim(Retention(entries=100)) == 100
    assert await shears.trim(Retention(entries=5000)) == 100


async def test_old_entries_go(shears: Shears) -> None:
    """By age, entries go that were appended before, and nothing goes that was not."""
    redis, stream = shears.records.redis, shears.records.name
    for second in range(1, 51):
        await redis.xadd(stream, {"payload": "old"}, id=f"{second}000-0")
    await shears.records.publish(names("new", 20))
    await shears.read(GROUP, 100, acknowledged=100)
    assert await shears.trim(Retention(age_ms=3_600_000)) == 20
    assert await shears.trim(Retention(age_ms=3_600_000)) == 20


@pytest.mark.parametrize("retention", [Retention(entries=1), Retention(age_ms=1)])
async def test_what_a_group_needs_stays(shears: Shears, retention: Retention) -> None:
    """Neither what is pending goes, nor what a second group has not read; broadcasts keep nothing."""
    redis, stream = shears.records.redis, shears.records.name
    await redis.xadd(stream, {"payload": "oldest"}, id="1-1")
    ids = await shears.records.publish(names("a", 300))
    await redis.xgroup_create(stream, "other", id="0")
    await shears.read(GROUP, 301, acknowledged=250)
    await shears.read("other", 120, acknowledged=120)
    await shears.trim(retention)
    left = [entry_id for entry_id, _ in await redis.xrange(stream)]
    assert left == ids[118:]  # the last one that was acknowledged stays, too
    await shears.read("other", 1000, acknowledged=1000)
    await shears.trim(retention)
    assert [entry_id for entry_id, _ in await redis.xrange(stream)] == ids[249:]


async def test_nobody_trims_without_the_lease(shears: Shears) -> None:
    """A former owner removes nothing."""
    await shears.records.publish(names("a", 10))
    await shears.read(GROUP, 10, acknowledged=10)
    assert await shears.trim(Retention(entries=1), by="former") == 10


async def test_what_cannot_be_trimmed_is_counted(shears: Shears) -> None:
    """A key that is no stream is left, and the failure is counted."""
    await shears.records.redis.delete(shears.records.name)
    await shears.records.redis.set(shears.records.name, "text")
    with pytest.raises(ResponseError):  # of the test's own look
        await shears.trim(Retention(entries=1))
    assert shears.observer.retries["trim"] == 1


async def test_held_streams_are_trimmed(shears: Shears, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker trims what it holds again and again."""
    monkeypatch.setattr(upkeep, "TRIM_INTERVAL_S", 0.05)
    stream = shears.records.name
    await shears.records.publish(names("a", 50))
    await shears.read(GROUP, 50, acknowledged=50)

    options = RedisOptions(retention=Retention(entries=10), spared_groups=SPARED)
    holdings, reader = Holdings(), Reader(shears.client, group=GROUP, options=options)
    holdings.add([Partition((stream, 0), stream, "token")])

    async def kept() -> bool:
        return bool(await shears.records.redis.xlen(stream) == 10)

    async with Upkeep(shears.client, holdings, group=GROUP, options=options, alive=set, look=reader.look):
        await eventually(kept)


async def test_committed_entries_leave_their_stream(shears: Shears) -> None:
    """All that a commit acknowledges or buries goes with it; what is refused stays, pending."""
    left = await committed(shears, refused=2, buried=4)
    assert left == [2]
    assert len(await shears.records.dead()) == 1


async def test_committed_entries_stay_for_a_second_group(shears: Shears) -> None:
    """With another group they go when that has acknowledged them, too, and no sooner."""
    await shears.records.redis.xgroup_create(shears.records.name, "other", id="0")
    assert await committed(shears) == [0, 1, 2, 3, 4, 5]
    await shears.read("other", 100, acknowledged=100)
    assert await committed(shears) == [5, 6, 7, 8, 9, 10, 11]
    await shears.read("other", 100, acknowledged=100)
    assert await committed(shears) == [11, 12, 13, 14, 15, 16, 17]


async def committed(
    shears: Shears, *, refused: int | None = None, buried: int | None = None, destroyed: bool = False
) -> list[int]:
    """Publish, read and commit six entries; return the numbers of those that are there then, of all there ever were."""
    stream, redis = shears.records.name, shears.records.redis
    await shears.records.publish(names("a", 6))
    reply = streams(await execute(shears.client, "XREADGROUP", "GROUP", GROUP, "me", "STREAMS", stream, ">"))
    entries = reply[0][1]
    batch = RecordBatch(stream, [(entry[0], entry[1]) for entry in entries])
    if refused is not None:
        batch.refuse(entries[refused][0], "kind", "reason")
    if buried is not None:
        batch.bury(entries[buried][0], "kind", "reason")
    partition = Partition((stream, 0), stream, "token")
    options = RedisOptions(removes_committed=True, spared_groups=SPARED)
    if destroyed:
        await redis.xgroup_destroy(stream, GROUP)
    await Committer(shears.client, group=GROUP, options=options).commit(partition, partition.ledger.register(batch))
    shears.ids += [entry[0] for entry in entries]
    return [shears.ids.index(entry_id) for entry_id, _ in await redis.xrange(stream)]


async def test_what_is_committed_without_a_group_leaves(shears: Shears) -> None:
    """Of a group that somebody removed, too: the next one would be given what has been counted."""
    assert await committed(shears, destroyed=True) == []
