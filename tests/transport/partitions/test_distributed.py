"""Changing the number of partitions of a stream that workers distribute: what nobody has distributed waits there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

import pytest

from faust_redis.distribution.moving import Mover, Tenure
from faust_redis.distribution.routing import route
from faust_redis.group.lease import Leases
from faust_redis.redis.errors import PartitionLost
from faust_redis.redis.replies import Entry
from tests.transport.partitions.conftest import GROUP, Topic, key_of
from tests.transport.partitions.test_interrupted import Killed, Mortal

DEVICES = [f"d{number}" for number in range(12)]
CHANGES = [(1, 3), (3, 1), (3, 5), (5, 2)]


async def publish(topic: Topic, *values: str) -> None:
    """Append a value for each device to the plain stream."""
    for value in values:
        for device in DEVICES:
            await topic.client.execute_command("XADD", topic.name, "*", "key", device, "payload", value)


class Distributor:
    """Distributes step by step, as workers do all the time."""

    def __init__(self, topic: Topic, partitions: int) -> None:
        self._topic = topic
        self.partitions = topic.streams(partitions)
        self._leases = Leases(topic.client, group=GROUP, instance_id="distributor", ttl_ms=60_000)
        self.mover = Mover(topic.client, source=topic.name, partitions=self.partitions, group=GROUP, key_of=key_of)
        self.tenure = Tenure(topic.name, "", math.inf)

    async def begin(self) -> None:
        token = await self._leases.acquire(self._topic.name)
        assert token is not None
        self.tenure = Tenure(self._topic.name, token, math.inf)
        await self.mover.begin(self.tenure)

    async def read(self) -> list[Entry]:
        start = f"({self.tenure.position}"
        return list(await self._topic.client.execute_command("XRANGE", self._topic.name, start, "+"))

    async def distribute_all(self) -> None:
        """Distribute what there is."""
        await self.begin()
        while entries := await self.read():
            await self.mover.move(self.tenure, entries)
        await self.end()

    async def append_to_some(self, entries: Sequence[Entry]) -> None:
        """Die after some partitions have their part, before anybody notes it."""
        portions = list(route(entries, len(self.partitions), key_of).items())
        await self.mover._append_all(
            self.tenure, {self.partitions[n]: portion.arguments() for n, portion in portions[::2]}
        )

    async def end(self) -> None:
        await self._leases.release(self._topic.name, self.tenure.token)


async def leave_something(topic: Topic, partitions: int) -> Distributor | None:
    """Leave entries done with, pending, distributed, distributed to some partitions, and not distributed.

    Return the distributor that died, where there is one.
    """
    await topic.client.xgroup_create(topic.name, GROUP, "0", mkstream=True)
    distributor = Distributor(topic, partitions) if partitions > 1 else None
    for acknowledge, value in ((True, "done"), (False, "pending")):
        await publish(topic, value)
        if distributor:
            await distributor.distribute_all()
        await topic.read(partitions, acknowledge=acknowledge)
    await publish(topic, "distributed")
    if distributor:
        await distributor.distribute_all()
        await distributor.begin()
        await publish(topic, "half")
        await distributor.append_to_some(await distributor.read())
        await distributor.end()
    await publish(topic, "new")
    return distributor


def expected(partitions: int) -> dict[str, list[str]]:
    values = ["pending", "distributed", *(["half"] if partitions > 1 else []), "new"]
    return dict.fromkeys(DEVICES, values)


async def found(topic: Topic, partitions: int) -> dict[str, list[str]]:
    """Return what each device has left once everything is distributed."""
    if partitions > 1:
        await Distributor(topic, partitions).distribute_all()
    return await topic.to_be_done(partitions)


@pytest.mark.parametrize(("before", "after"), CHANGES)
async def test_everything_is_there_once_and_in_order(topic: Topic, before: int, after: int) -> None:
    """What was distributed is where it belongs, the rest is distributed there, each entry once."""
    await leave_something(topic, before)
    await topic.change(after, distributed=True)
    assert await found(topic, after) == expected(before)


async def test_in_a_cluster(clustered: Topic) -> None:
    """The same where partitions lie in different slots."""
    for before, after in CHANGES:
        await leave_something(clustered, before)
        await clustered.change(after, distributed=True)
        assert await found(clustered, after) == expected(before)
        await clustered.clear()


async def test_what_is_distributed_meanwhile_stays_in_order(topic: Topic) -> None:
    """One change after the other, with distribution between, loses nothing and repeats nothing."""
    await leave_something(topic, 1)
    for partitions in (3, 2, 4, 1):
        await topic.change(partitions, distributed=True)
        assert await found(topic, partitions) == expected(1)


async def test_a_distributor_that_was_paused_is_kept_out(topic: Topic) -> None:
    """What one appends that has slept through the change goes nowhere."""
    distributor = await leave_something(topic, 3)
    assert distributor is not None
    await distributor.begin()
    entries = await distributor.read()
    await topic.expire_leases()
    await topic.change(2, distributed=True)
    with pytest.raises(PartitionLost):
        await distributor.append_to_some(entries)
    assert await found(topic, 2) == expected(3)
    assert not await topic.client.exists(topic.streams(3)[2])


@pytest.mark.parametrize("after", [3, 2])
async def test_partitions_that_are_distributed_no_more(topic: Topic, after: int) -> None:
    """When the producer chooses from now on the plain stream is left empty, and a paused distributor is kept out."""
    distributor = await leave_something(topic, 3)
    assert distributor is not None
    await distributor.begin()
    entries = await distributor.read()
    await topic.expire_leases()
    await topic.change(after, distributed=False)
    with pytest.raises(PartitionLost):
        await distributor.append_to_some(entries)
    assert await topic.to_be_done(after) == expected(3)
    await distributor.distribute_all()
    assert await topic.to_be_done(after) == expected(3)


async def test_what_was_trimmed_from_the_plain_stream_comes_back(topic: Topic) -> None:
    """Entries that only a partition has are appended to the plain stream when it is the only one again."""
    await leave_something(topic, 3)
    await topic.client.execute_command("XTRIM", topic.name, "MAXLEN", 2 * len(DEVICES))
    await topic.change(1, distributed=True)
    left = {device: sorted(values) for device, values in (await topic.to_be_done(1)).items()}
    assert left == {device: sorted(values) for device, values in expected(3).items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("before", "after"), [(3, 1), (2, 3)])
async def test_after_a_step(topic: Topic, quick: None, before: int, after: int) -> None:  # noqa: ARG001
    """Whichever answer was the last one, the next run brings everything to where it belongs."""
    for steps in count(step=3):
        await leave_something(topic, before)
        try:
            await topic.change(after, distributed=True, client=Mortal(topic.client, steps))
        except Killed:
            await topic.expire_leases()
            await topic.change(after, distributed=True)
        else:
            return
        assert await found(topic, after) == expected(before)
        await topic.clear()
