"""Moving entries from one stream to partitions: once, in order, whoever does it and however often."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from faust_redis.distribution.moving import Mover, Tenure
from faust_redis.distribution.routing import route
from faust_redis.redis import keys
from faust_redis.redis.client import close, connect
from faust_redis.redis.errors import PartitionLost
from faust_redis.redis.packing import packed, unpacked
from faust_redis.redis.replies import Entry
from tests.transport.apps import GROUP, names
from tests.transport.conftest import Stream

PARTITIONS = 3
Id = bytes | str


def key_of(fields: Sequence[bytes]) -> bytes:
    """Return the part of a payload before its first digit."""
    return fields[1].rstrip(b"0123456789")


class Source:
    """A stream to be distributed, and distributors for it."""

    def __init__(self, records: Stream) -> None:
        self.records = records
        self.redis = records.redis
        self.client = connect(records.redis_url)
        self.partitions = [keys.partition_stream(records.name, number, PARTITIONS) for number in range(PARTITIONS)]
        self.mover = self.new_mover()

    def new_mover(self) -> Mover:
        return Mover(self.client, source=self.records.name, partitions=self.partitions, group=GROUP, key_of=key_of)

    async def tenure(self, token: str, mover: Mover | None = None) -> Tenure:
        """Take the lease from whoever has it, and begin."""
        await self.redis.set(self.records.lease, token)
        tenure = Tenure(self.records.name, token, float("inf"))
        await (mover or self.mover).begin(tenure)
        return tenure

    async def read(self, tenure: Tenure) -> list[Entry]:
        return await self.mover.read(tenure, count=1000, block_ms=1)

    async def distribute(self, tenure: Tenure) -> None:
        while entries := await self.read(tenure):
            await self.mover.move(tenure, entries)

    async def held(self) -> list[list[tuple[Id, str]]]:
        """Return ids and payloads of each partition."""
        return [
            [(entry_id, fields[b"payload"].decode()) for entry_id, fields in await self.redis.xrange(stream)]
            for stream in self.partitions
        ]

    async def payloads(self) -> list[list[str]]:
        return [[payload for _, payload in entries] for entries in await self.held()]

    async def group(self) -> Any:
        (group,) = await self.redis.xinfo_groups(self.records.name)
        return group


@pytest.fixture
async def source(records: Stream) -> AsyncIterator[Source]:
    made = Source(records)
    yield made
    await close(made.client)


def place(name: str) -> int:
    return keys.partition_of(name.rstrip("0123456789").encode(), PARTITIONS)


def placed(payloads: Sequence[str]) -> list[list[str]]:
    return [[name for name in payloads if place(name) == number] for number in range(PARTITIONS)]


EVERYBODY = [f"{device}{number}" for number in range(40) for device in ("a", "b", "c", "d", "e")]


async def test_each_entry_goes_to_the_partition_of_its_key(source: Source) -> None:
    """With its id and its fields, in order; the group is then at the end and its lag 0."""
    ids = await source.records.publish(EVERYBODY)
    await source.distribute(await source.tenure("first"))
    assert await source.payloads() == placed(EVERYBODY)
    at = dict(zip(ids, EVERYBODY, strict=True))
    assert {entry_id: name for entries in await source.held() for entry_id, name in entries} == at
    group = await source.group()
    assert (group["last-delivered-id"], group["lag"], group["pending"]) == (ids[-1], 0, 0)


async def test_moving_twice_is_moving_once(source: Source) -> None:
    """What is moved again, here or under another epoch, is not appended again, committed and removed or not."""
    await source.records.publish(EVERYBODY)
    tenure = await source.tenure("first")
    entries = await source.read(tenure)
    await source.mover.move(tenure, entries)
    await source.mover.move(tenure, entries)
    assert await source.payloads() == placed(EVERYBODY)
    await source.redis.xtrim(source.partitions[place("a")], maxlen=0, approximate=False)
    again = await source.tenure("second")
    await source.mover.move(again, entries)
    assert await source.payloads() == [
        [] if number == place("a") else payloads for number, payloads in enumerate(placed(EVERYBODY))
    ]


async def test_what_was_left_half_done_is_completed(source: Source) -> None:
    """After a distributor that died between the partitions, or before it moved the group on, the next one goes on."""
    await source.records.publish(EVERYBODY)
    dying = await source.tenure("first")
    entries = await source.read(dying)
    await source.redis.delete(source.records.lease)
    with pytest.raises(PartitionLost):  # after it has appended to all
        await source.mover.move(dying, entries[:100])
    for stream in source.partitions[1:]:
        await source.redis.delete(stream, keys.distribution(stream))
    assert (await source.group())["lag"] == 200
    await source.distribute(await source.tenure("second"))
    assert await source.payloads() == placed(EVERYBODY)


async def test_a_former_distributor_is_refused(source: Source) -> None:
    """One that was paused appends nothing to a partition that has heard of its successor, and moves nothing on."""
    await source.records.publish(EVERYBODY)
    former = await source.tenure("first")
    entries = await source.read(former)
    await source.distribute(await source.tenure("second"))
    for stream in source.partitions:  # as if all had been committed, and somebody had lost the position
        await source.redis.delete(stream)
        await source.redis.hdel(keys.distribution(stream), "position")
    with pytest.raises(PartitionLost):
        await source.mover.move(former, entries)
    with pytest.raises(PartitionLost):
        await source.mover.pass_over(former)
    assert await source.payloads() == [[], [], []]
    assert await source.records.dead() == []


async def test_an_epoch_that_redis_forgot_is_passed(source: Source) -> None:
    """A rightful distributor whose epoch is behind that of the partitions takes a greater one and goes on."""
    await source.records.publish(EVERYBODY[:100])
    await source.distribute(await source.tenure("first"))
    await source.distribute(await source.tenure("second"))
    await source.redis.delete(keys.distribution(source.records.name))
    await source.records.publish(EVERYBODY[100:])
    await source.distribute(await source.tenure("third"))
    assert await source.payloads() == placed(EVERYBODY)


async def test_an_emptied_partition_gets_what_comes(source: Source) -> None:
    """When a partition's stream is flushed, with what is remembered beside it, the next entries go there as before."""
    await source.records.publish(EVERYBODY[:100])
    tenure = await source.tenure("first")
    await source.distribute(tenure)
    await source.redis.delete(*source.partitions, *map(keys.distribution, source.partitions))
    await source.records.publish(EVERYBODY[100:])
    await source.distribute(tenure)
    assert await source.payloads() == placed(EVERYBODY[100:])


async def test_a_source_that_is_gone_is_begun_anew(source: Source) -> None:
    """When the plain stream, its group or all of Redis is gone, distribution begins at the beginning, nothing twice."""
    await source.records.publish(EVERYBODY[:100])
    tenure = await source.tenure("first")
    await source.distribute(tenure)
    await source.redis.xgroup_destroy(source.records.name, GROUP)
    await source.records.publish(EVERYBODY[100:])
    await source.mover.move(tenure, await source.read(tenure))
    assert tenure.position is None
    await source.mover.begin(tenure)
    await source.distribute(tenure)
    assert await source.payloads() == placed(EVERYBODY)
    assert (await source.group())["lag"] == 0


async def test_a_trimmed_source_is_read_on(source: Source) -> None:
    """Entries that are gone before they were distributed are passed over, and the lag stays known."""
    await source.records.publish(EVERYBODY)
    tenure = await source.tenure("first")
    await source.redis.xtrim(source.records.name, maxlen=100, approximate=False)
    await source.mover.move(tenure, (await source.read(tenure))[:60])
    assert (await source.group())["lag"] == 40
    await source.distribute(tenure)
    assert await source.payloads() == placed(EVERYBODY[100:])


async def test_a_partition_that_is_ahead_gets_every_entry(source: Source) -> None:
    """Where dead letters were sent again, so that ids are taken, entries get new ids, in order, and each once."""
    await source.records.publish(EVERYBODY)
    ahead = source.partitions[place("a")]
    await source.redis.xadd(ahead, {"payload": "replayed"})
    tenure = await source.tenure("first")
    entries = await source.read(tenure)
    await source.mover.move(tenure, entries)
    await source.mover.move(tenure, entries)
    expected = placed(EVERYBODY)
    expected[place("a")].insert(0, "replayed")
    assert await source.payloads() == expected


async def test_entries_appended_by_others_under_their_ids_are_known(source: Source) -> None:
    """What a partition holds under an entry's own id is that entry, whatever is remembered beside it."""
    ids = await source.records.publish(EVERYBODY)
    for entry_id, name in zip(ids, EVERYBODY, strict=True):
        if name.startswith("a"):
            await source.redis.xadd(source.partitions[place("a")], {"payload": name}, id=entry_id)
    await source.distribute(await source.tenure("first"))
    counted = sorted(name for payloads in await source.payloads() for name in payloads)
    assert counted == sorted(EVERYBODY)


async def test_a_late_step_moves_nothing_back(source: Source) -> None:
    """A step that arrives after the ones behind it, as from a stalled connection, changes nothing."""
    ids = await source.records.publish(EVERYBODY)
    tenure = await source.tenure("first")
    entries = await source.read(tenure)
    await source.distribute(tenure)
    await source.mover.move(tenure, entries[:50])
    assert (await source.group())["last-delivered-id"] == ids[-1]
    assert await source.payloads() == placed(EVERYBODY)


async def test_an_entry_with_very_many_fields_is_packed(source: Source) -> None:
    """Beyond what a script can pass on, its fields arrive packed in one, and its neighbours as they are."""
    many = {"payload": "b0", **{f"field{number}": "x" for number in range(5000)}}
    await source.records.publish(["b1"])
    await source.redis.xadd(source.records.name, many)
    await source.records.publish(["b2"])
    await source.distribute(await source.tenure("first"))
    stored = await source.redis.xrange(source.partitions[place("b")])
    assert [list(fields) for _, fields in stored] == [[b"payload"], [b"packed"], [b"payload"]]
    _, fields = stored[1]
    assert unpacked([b"packed", fields[b"packed"]]) == [text.encode() for pair in many.items() for text in pair]


def test_a_packed_entry_goes_by_what_is_packed() -> None:
    """As one that came back to the plain stream when the number of partitions was changed; others of that field too."""

    def named_key(fields: Sequence[bytes]) -> bytes:
        return dict(zip(fields[::2], fields[1::2], strict=True)).get(b"key", b"")

    many = packed([b"key", b"k7", *[b"x"] * 8000])
    entries = [(b"1-1", many), (b"1-2", [b"packed", b"something else"]), (b"1-3", [b"key", b"k7"])]
    portions = route(entries, 64, named_key)
    assert {number: portion.counts for number, portion in portions.items()} == {
        keys.partition_of(b"k7", 64): [3, 3],
        keys.partition_of(b"", 64): [3],
    }


async def test_a_cluster_spreads_the_partitions(cluster: Stream) -> None:
    """Where partitions lie in different slots, one round trip still fills all of them."""
    source = Source(cluster)
    try:
        await cluster.publish(names("a", 10) + names("b", 10) + names("c", 10))
        await source.distribute(await source.tenure("first"))
        assert sum(map(len, await source.payloads())) == 30
        assert (await source.group())["lag"] == 0
    finally:
        await close(source.client)
