"""What the command refuses, whom it waits for, and what it finds in places where nobody would look."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis as Blocking
from redis.asyncio import Redis

from faust_redis.options import RedisOptions
from faust_redis.partitions import discovery, record
from faust_redis.partitions.exclusive import OtherReaders, WorkersAlive
from faust_redis.redis import keys
from faust_redis.redis.client import Client, close, connect
from faust_redis.redis.errors import Misconfigured
from faust_redis.redis.packing import unpacked
from tests.conftest import ValkeyFactory
from tests.deploy import handbook
from tests.transport.partitions.conftest import GROUP, TABLE, Topic, require_all


async def test_a_lease_of_a_worker(topic: Topic) -> None:
    """A partition that somebody holds is not touched, nor any other."""
    left = await topic.fill(3)
    await topic.client.set(keys.lease(topic.streams(3)[1], GROUP), "worker-1#token")
    before = await topic.names()
    with pytest.raises(WorkersAlive, match="stop worker-1 first"):
        await topic.change(2)
    assert await topic.names() == before
    assert await topic.to_be_done(3) == left


async def test_what_is_no_lease_in_the_place_of_one(topic: Topic) -> None:
    """It is named at once, although nobody ever gives it back."""
    await topic.fill(3)
    lease = keys.lease(topic.streams(3)[1], GROUP)
    await topic.client.set(lease, "by hand")
    with pytest.raises(WorkersAlive, match="stop by hand first"):
        await topic.change(2)
    await topic.client.delete(lease)
    await topic.client.hset(lease, "a", "b")
    with pytest.raises(WorkersAlive, match="a key of another type"):
        await topic.change(2)


async def test_another_group(topic: Topic) -> None:
    """A group of somebody else is named, and loses nothing; that of the plain stream does not matter."""
    left = await topic.fill(3)
    await topic.client.xgroup_create(topic.streams(3)[1], "others", "0")
    with pytest.raises(OtherReaders, match="others"):
        await topic.change(2)
    assert await topic.to_be_done(3) == left
    await topic.client.xgroup_destroy(topic.streams(3)[1], "others")
    await topic.client.xgroup_create(topic.name, "others", "0", mkstream=True)
    await topic.change(2)
    await require_all(topic, left, 2)


async def test_two_at_once(topic: Topic) -> None:
    """Of two commands the second waits for the first."""
    left = await topic.fill(3)
    await asyncio.gather(topic.change(2), topic.change(2))
    await require_all(topic, left, 2)


async def test_a_key_of_another_type(topic: Topic) -> None:
    """It is named, and nothing is changed."""
    await topic.client.set(topic.streams(3)[0], "text")
    with pytest.raises(Misconfigured, match="should be a stream and is a string"):
        await topic.change(2)


async def test_entries_that_come_meanwhile(topic: Topic, redis_url: str) -> None:
    """They are counted, nothing of them is lost, and the next run brings them to where they belong."""
    left = await topic.fill(6)
    late = dict.fromkeys(left, "late")

    def write(_done: int, _total: int) -> None:
        """Append one for each device, while the change waits."""
        with Blocking.from_url(redis_url) as client:
            while late:
                name, value = late.popitem()
                client.xadd(topic.stream_of(name, 6), {"key": name, "payload": value})

    outcome = await topic.change(4, progress=write)
    assert outcome.late == len(left)
    await topic.change(4)
    found = await topic.to_be_done(4)
    assert {name: sorted(values) for name, values in found.items()} == {
        name: sorted([*values, "late"]) for name, values in left.items()
    }


@pytest.mark.parametrize("after", [2, 1])
async def test_entries_of_very_many_values(topic: Topic, after: int) -> None:
    """More than a script can append, and of those that come meanwhile too: each is where it belongs, once."""
    names, more = [f"d{number}" for number in range(6)], [b"x"] * 8000
    begun = asyncio.Event()

    async def append(value: str) -> None:
        for name in names:
            await topic.client.execute_command(
                "XADD", topic.stream_of(name, 3), "*", "key", name, "payload", value, *more
            )

    async def append_meanwhile() -> None:
        await begun.wait()
        await append("late")

    await append("early")
    await asyncio.gather(topic.change(after, progress=lambda _done, _total: begun.set()), append_meanwhile())
    await topic.change(after)
    found = [
        (stream, *unpacked(fields)[1:4:2])
        for stream in topic.streams(after)
        for _, fields in await topic.client.execute_command("XRANGE", stream, "-", "+")
    ]
    expected = [(topic.stream_of(name, after), name.encode(), value) for name in names for value in (b"early", b"late")]
    assert sorted(found) == sorted(expected)


async def test_what_was_left_behind_by_a_change_of_the_setting_alone(topic: Topic) -> None:
    """Entries and counts of the plain stream join those of the partitions that were begun beside it."""
    left = await topic.fill(1)
    for name in left:
        await topic.append(name, "begun", 3)
        await topic.client.hset(keys.state(topic.stream_of(name, 3), GROUP, TABLE), mapping={name: 5})
    await topic.change(3)
    assert await topic.to_be_done(3) == {name: [*values, "begun"] for name, values in left.items()}
    assert await topic.counts(3) == dict.fromkeys(left, 7)


async def test_the_rights_of_the_handbook_are_enough(valkey_factory: ValkeyFactory) -> None:
    """A user who may do what docs/operations.md lists may change the number of partitions."""
    url = valkey_factory().url
    async with Redis.from_url(url) as admin:
        line = handbook.block("Redis", "redis", "user processor ").split()
        await admin.execute_command("ACL", "SETUSER", *line[1:])  # type: ignore[no-untyped-call]  # any client
    client, user = connect(url), connect(url.replace("redis://", "redis://processor:PASSWORD@"))
    topic = Topic(client, "telemetry:teltonika")
    left = await topic.fill(1)
    for partitions in (3, 1):
        await topic.change(partitions, client=user)
        await require_all(topic, left, partitions)
    for one in (client, user):
        await close(one)


async def test_a_right_that_is_missing(valkey_factory: ValkeyFactory) -> None:
    """Without the right to rename, nothing is begun."""
    url = valkey_factory().url
    client, user = connect(url), connect(url.replace("redis://", "redis://w:x@"))
    await client.execute_command("ACL", "SETUSER", "w", "on", "nopass", "~*", "+@all", "-rename")
    topic = Topic(client, "s")
    left = await topic.fill(2)
    with pytest.raises(Misconfigured, match="rename"):
        await topic.change(3, client=user)
    assert await topic.to_be_done(2) == left
    for one in (client, user):
        await close(one)


async def test_a_worker_that_is_just_making_the_streams_is_no_other_number(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of workers that start together on an empty Redis none takes the first streams of another for all there are."""
    find = discovery.other_number

    async def find_after_another_began(client: Client, name: str, group: str, wanted: int) -> int | None:
        await topic.client.set(keys.partitions(topic.name), 4)
        await topic.client.xgroup_create(topic.name, GROUP, "0", mkstream=True)
        return await find(client, name, group, wanted)

    monkeypatch.setattr(record, "other_number", find_after_another_began)
    await record.PartitionRecord(topic.client, topic.name, group=GROUP, options=RedisOptions()).require(4)


async def test_how_records_come_is_recorded(topic: Topic) -> None:
    """The first worker of several partitions records it, one that differs is refused, and the command changes it."""

    def recorded(producer: str) -> record.PartitionRecord:
        options = RedisOptions(producer=producer, producer_setting="PRODUCER", partitions_command="change to")
        return record.PartitionRecord(topic.client, topic.name, group=GROUP, options=options)

    await recorded("one").require(1)
    await recorded("other").require(1)
    assert await topic.client.get(keys.producer(topic.name)) is None
    await topic.client.delete(keys.partitions(topic.name))
    await recorded("one").require(2)
    await recorded("one").require(2)
    assert await recorded("one").why_not(2) is None
    with pytest.raises(record.OtherPartitions, match=r"PRODUCER is other.* set PRODUCER=one, or .* `change to 2` with"):
        await recorded("other").require(2)
    assert "PRODUCER is other" in str(await recorded("other").why_not(2))
    await topic.client.set(keys.lease(topic.name, GROUP), "token")
    await recorded("other").settle(2, "token")
    await recorded("other").require(2)
    assert await recorded("").why_not(2) is None
