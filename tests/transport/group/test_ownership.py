"""Taking, keeping and giving back partitions: leases in a real Redis, without Faust and without a consumer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from faust_redis.group.holdings import Holdings
from faust_redis.group.lease import Leases
from faust_redis.group.ownership import Ownership
from faust_redis.options import RedisOptions
from faust_redis.redis import keys
from faust_redis.redis.client import close, connect
from faust_redis.redis.errors import PartitionLost
from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.partition import Partition
from faust_redis.stream.reader import Reader
from tests.support.observed import TransportObserved
from tests.support.waiting import eventually
from tests.transport.apps import GROUP

#: Long enough for a busy machine to renew in time.
TTL_MS = 6000
#: What is left of a lease that is about to be renewed.
LEFT_MS = 4500


class Worker:
    """An ownership, what it holds, and each change of that: what left, and what was held afterwards."""

    def __init__(self, url: str, name: str, topics: dict[str, int], ttl_ms: int) -> None:
        self.client = connect(url)
        self.holdings = Holdings()
        self.observer = TransportObserved()
        self.changes: list[tuple[list[int], list[int]]] = []
        self.anew: list[int] = []
        self.may_change = asyncio.Event()
        self.may_change.set()
        self.is_changing = False
        self.stops = False
        self.leases_to_end = 0
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.topics = topics
        options = RedisOptions(instance_id=name, lease_ttl_ms=ttl_ms, observer=self.observer)
        self._reader = Reader(self.client, group=GROUP, options=options)
        self.ownership = Ownership(
            self.client,
            self.holdings,
            group=GROUP,
            options=options,
            streams_of=self.streams_of,
            ensure_group=self.ensure_group,
            rebalance=self.rebalance,
            stopping=lambda: self.stops,
        )

    async def ensure_group(self, partition: Partition) -> bool:
        if partition.tp[1]:
            await self.may_take.wait()
        if self.leases_to_end:
            self.leases_to_end -= 1
            await self.client.delete(keys.lease(partition.stream, GROUP))
        return await self._reader.ensure_group(partition)

    def streams_of(self, topic: str) -> list[str]:
        return [keys.partition_stream(topic, n, self.topics[topic]) for n in range(self.topics[topic])]

    @contextlib.asynccontextmanager
    async def rebalance(self, leaving: Sequence[Partition], anew: Sequence[Partition]) -> AsyncIterator[None]:
        self.is_changing = True
        self.anew += [number for _, number in (partition.tp for partition in anew)]
        await self.may_change.wait()
        yield
        self.changes.append(([number for _, number in (p.tp for p in leaving)], self.held))
        self.is_changing = False

    @property
    def held(self) -> list[int]:
        return sorted(number for _, number in self.holdings)

    @property
    def only(self) -> Partition:
        (partition,) = self.holdings.values()
        return partition


class Workers:
    """Starts workers on one topic, and looks at the leases in Redis."""

    def __init__(self, redis: Redis, url: str, topic: str, stack: contextlib.AsyncExitStack) -> None:
        self.redis: Any = redis
        self.topic = topic
        self._url = url
        self._stack = stack

    async def start(
        self,
        name: str,
        partitions: int = 1,
        *,
        ttl_ms: int = TTL_MS,
        topics: dict[str, int] | None = None,
        leases_to_end: int = 0,
    ) -> Worker:
        wanted = topics or {self.topic: partitions}
        worker = Worker(self._url, name, wanted, ttl_ms)
        worker.leases_to_end = leases_to_end
        await self.begin(worker)
        return worker

    async def begin(self, worker: Worker) -> None:
        worker.ownership.want(worker.topics)
        self._stack.push_async_callback(close, worker.client)
        await self._stack.enter_async_context(worker.ownership)

    async def lease(self, stream: str | None = None) -> str | None:
        token = await self.redis.get(keys.lease(stream or self.topic, GROUP))
        return None if token is None else token.decode()

    async def take_away(self) -> None:
        """Give the lease of the only partition to somebody else, for a moment."""
        await self.redis.set(keys.lease(self.topic, GROUP), "somebody else#1", px=400)


@pytest.fixture
async def workers(redis: Redis, redis_url: str, stream: str) -> AsyncIterator[Workers]:
    async with contextlib.AsyncExitStack() as stack:
        yield Workers(redis, redis_url, stream, stack)


async def test_a_free_partition_is_taken(workers: Workers) -> None:
    """A worker takes a free partition: its lease has the worker's token, its stream the group, and it is reported."""
    worker = await workers.start("one")
    await eventually(lambda: worker.changes)
    assert worker.changes == [([], [0])]
    assert worker.ownership.assigned_once
    assert await workers.lease() == worker.only.token
    assert worker.only.token.startswith("one#")
    assert [group["name"] for group in await workers.redis.xinfo_groups(workers.topic)] == [GROUP.encode()]
    assert worker.observer.owned == 1


async def test_a_lease_that_ends_while_it_is_taken(workers: Workers) -> None:
    """A lease that ends before the stream has its group is taken again at the next look, long before a renewal."""
    worker = await workers.start("one", ttl_ms=120_000, leases_to_end=2)
    await eventually(lambda: worker.held == [0])
    assert worker.leases_to_end == 0
    assert await workers.lease() == worker.only.token


async def test_a_lease_is_renewed_while_others_are_taken(workers: Workers) -> None:
    """However long it takes until all are taken, as of hundreds on a slow line, none ends meanwhile."""
    worker = Worker(workers._url, "one", {workers.topic: 2}, TTL_MS)
    worker.may_take.clear()
    await workers.begin(worker)
    first = f"{workers.topic}:0"
    token = await eventually(lambda: workers.lease(first))
    await workers.redis.pexpire(keys.lease(first, GROUP), LEFT_MS)

    async def is_renewed() -> bool:
        return bool(await workers.redis.pttl(keys.lease(first, GROUP)) > LEFT_MS)

    await eventually(is_renewed)
    assert worker.held == []
    worker.may_take.set()
    await eventually(lambda: worker.held == [0, 1])
    assert await workers.lease(first) == token


async def test_a_held_partition_is_left_alone(workers: Workers) -> None:
    """A worker that finds every partition held is told that it has none, and stands by."""
    first = await workers.start("one")
    await eventually(lambda: first.held)
    second = await workers.start("two")
    await eventually(lambda: second.changes)
    assert (second.changes, second.ownership.assigned_once) == ([([], [])], True)
    assert await workers.lease() == first.only.token


async def test_a_lease_is_renewed(workers: Workers) -> None:
    """A lease outlives its time for as long as its worker runs, under the same token."""
    worker = await workers.start("one")
    await eventually(lambda: worker.changes)
    token = worker.only.token
    await renewed(worker.only, times=3)  # so many take a lease's time
    assert await workers.lease() == token
    assert 0 < await workers.redis.pttl(keys.lease(workers.topic, GROUP)) <= TTL_MS
    assert worker.changes == [([], [0])]


async def renewed(partition: Partition, *, times: int) -> None:
    """Wait until a lease was renewed so often."""
    for _ in range(times):
        until_s = partition.leased_until_s
        await eventually(partial(ends_later, partition, until_s), message="the lease is renewed")


def ends_later(partition: Partition, until_s: float) -> bool:
    return partition.leased_until_s > until_s


async def test_a_lost_lease_is_noticed(workers: Workers) -> None:
    """A worker whose lease somebody took drops the partition, leaves the other's lease alone, and regains it later."""
    worker = await workers.start("one")
    await eventually(lambda: worker.held)
    lost = worker.only
    await workers.take_away()
    await eventually(lambda: len(worker.changes) >= 2)
    assert lost.lost
    assert worker.changes[1] == ([0], [])
    await eventually(lambda: worker.held == [0])
    assert worker.only is not lost
    assert worker.only.token != lost.token
    assert await workers.lease() == worker.only.token


async def test_a_partition_found_lost_elsewhere_leaves_at_once(workers: Workers) -> None:
    """Who finds first that a lease is gone says so to the holdings; the partition leaves without waiting for a turn."""
    worker = await workers.start("one", ttl_ms=60_000)
    await eventually(lambda: worker.held)
    lost = worker.only
    await workers.redis.delete(keys.lease(workers.topic, GROUP))
    worker.holdings.lose(lost)
    await eventually(lambda: len(worker.changes) == 3)
    assert worker.changes[1:] == [([0], []), ([], [0])]
    assert worker.only is not lost


async def test_two_workers_share(workers: Workers) -> None:
    """A newcomer gets half of the partitions: their leases are given back, not left to expire; nothing is left out."""
    first = await workers.start("one", 4, ttl_ms=60_000)
    await eventually(lambda: first.held == [0, 1, 2, 3])
    second = await workers.start("two", 4, ttl_ms=60_000)

    def is_shared() -> bool:
        for worker in (first, second):
            worker.holdings.changed.set()
        return (len(first.held), len(second.held)) == (2, 2)

    await eventually(is_shared)
    assert sorted(first.held + second.held) == [0, 1, 2, 3]
    for worker in (first, second):
        for partition in worker.holdings.values():
            assert await workers.lease(partition.stream) == partition.token


async def test_nothing_is_given_back_before_it_is_drained(workers: Workers) -> None:
    """While what leaves is still worked on its lease is kept, and renewed: nobody else can take it."""
    first = await workers.start("one", 2)
    await eventually(lambda: first.held == [0, 1])
    before = dict(first.holdings)
    first.may_change.clear()
    second = await workers.start("two", 2)
    await eventually(lambda: first.is_changing)
    for partition in before.values():
        await renewed(partition, times=2)
    assert (second.held, first.holdings) == ([], before)
    for partition in before.values():
        assert await workers.lease(partition.stream) == partition.token
    first.may_change.set()
    await eventually(lambda: (len(first.held), len(second.held)) == (1, 1))


async def test_what_a_dead_worker_held_is_taken(workers: Workers) -> None:
    """When a worker stops renewing, another takes its partition once the lease has ended."""
    client = connect(workers._url)
    leases = Leases(client, group=GROUP, instance_id="dead", ttl_ms=60_000)
    assert await leases.acquire(workers.topic)
    assert await leases.holders([workers.topic]) == {workers.topic: "dead"}
    await close(client)
    worker = await workers.start("one")
    await eventually(lambda: worker.changes)
    assert worker.changes == [([], [])]
    await workers.redis.pexpire(keys.lease(workers.topic, GROUP), 1)
    await eventually(lambda: worker.held == [0])
    assert await workers.lease() == worker.only.token


async def test_stopping_gives_back(workers: Workers) -> None:
    """A worker that stops deletes its leases and leaves the list; another worker needs to wait for nothing."""
    first = await workers.start("one", 2, ttl_ms=60_000)
    await eventually(lambda: first.held == [0, 1])
    await first.ownership.stop()
    assert [await workers.lease(stream) for stream in first.streams_of(workers.topic)] == [None, None]
    assert await workers.redis.zcard(keys.workers(workers.topic, GROUP)) == 0
    assert first.observer.owned == 0
    second = await workers.start("two", 2, ttl_ms=60_000)
    await eventually(lambda: second.held == [0, 1])


async def test_stopping_leaves_what_is_not_ours(workers: Workers) -> None:
    """A lease that somebody else has by now is not given back."""
    worker = await workers.start("one", ttl_ms=60_000)
    await eventually(lambda: worker.held)
    await workers.redis.set(keys.lease(workers.topic, GROUP), "somebody else#1")
    await worker.ownership.stop()
    assert await workers.lease() == "somebody else#1"


async def test_nothing_is_taken_while_the_application_stops(workers: Workers) -> None:
    """Once the application is stopping no partition is taken any more."""
    first = await workers.start("one", ttl_ms=60_000)
    await eventually(lambda: first.held)
    second = await workers.start("two", ttl_ms=60_000)
    await eventually(lambda: second.changes)
    second.stops = True
    second.holdings.changed.set()
    await eventually(lambda: not second.holdings.changed.is_set(), message="a turn begins, which is the last one")
    await first.ownership.stop()
    third = await workers.start("three", ttl_ms=60_000)
    await eventually(lambda: third.held == [0])
    assert second.held == []


async def test_topics_are_shared_one_by_one(workers: Workers) -> None:
    """Each topic has a list of its own: who alone wants a topic has all of it, whoever else shares another one."""
    other = f"{workers.topic}-other"
    both = await workers.start("both", topics={workers.topic: 2, other: 2})
    await eventually(lambda: len(both.holdings) == 4)
    one = await workers.start("one", 2)
    await eventually(lambda: len(one.holdings) == 1)
    await eventually(lambda: len(both.holdings) == 3)
    assert len(both.holdings.of_topic(other)) == 2
    await eventually(lambda: both.ownership.workers() == {"both", "one"})
    assert one.ownership.workers() == {"both", "one"}


async def test_an_abandoned_batch_is_a_change(workers: Workers) -> None:
    """A batch that was dropped unprocessed makes the worker begin again with what it holds."""
    worker = await workers.start("one")
    await eventually(lambda: len(worker.changes) == 1)
    worker.only.ledger.register(RecordBatch(workers.topic, [])).given_up = True
    await eventually(lambda: len(worker.changes) == 2)
    assert (worker.changes[1], worker.anew) == (([], [0]), [0])


async def test_a_partition_that_cannot_be_read_holds_up_no_other(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    """A key of another type is left alone, said once, and taken when it is gone; its lease is given back meanwhile."""
    streams = [f"{workers.topic}:{number}" for number in range(2)]
    await workers.redis.set(streams[0], "in the way")
    worker = await workers.start("one", 2, ttl_ms=1500)
    await eventually(lambda: worker.held == [1])
    await eventually(lambda: worker.observer.retries["create group"] >= 3)
    assert caplog.text.count(f"cannot read {streams[0]}") == 1
    await workers.redis.delete(streams[0])
    await eventually(lambda: worker.held == [0, 1])


async def test_without_the_lease_no_group_is_made(workers: Workers) -> None:
    """Who has lost a partition makes neither its stream nor its group; who holds it makes both, once."""
    worker = await workers.start("one", 0)
    reader = Reader(worker.client, group=GROUP, options=RedisOptions())
    partition = Partition((workers.topic, 0), workers.topic, "mine")
    await workers.redis.set(keys.lease(workers.topic, GROUP), "another's")
    with pytest.raises(PartitionLost):
        await reader.ensure_group(partition)
    assert not await workers.redis.exists(workers.topic)
    await workers.redis.set(keys.lease(workers.topic, GROUP), "mine")
    assert [await reader.ensure_group(partition) for _ in range(2)] == [True, False]


async def test_a_table_to_load_again_is_a_change(workers: Workers) -> None:
    """When a table in memory has parted from what is stored the worker begins again with what it holds."""
    worker = await workers.start("one")
    await eventually(lambda: len(worker.changes) == 1)
    worker.only.ledger.versions.parted.add("table")
    await eventually(lambda: len(worker.changes) == 2)
    assert (worker.changes[1], worker.anew) == (([], [0]), [0])
