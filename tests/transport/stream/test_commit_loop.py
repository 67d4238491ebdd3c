"""When batches are committed, without an application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from faust_redis.options import RedisOptions
from faust_redis.redis import keys
from faust_redis.redis.client import close, connect, execute
from faust_redis.redis.replies import streams
from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.commit import Committer
from faust_redis.stream.commit_loop import CommitLoop
from faust_redis.stream.ledger import InFlight
from faust_redis.stream.partition import Partition
from tests.conftest import ProxyFactory
from tests.support.observed import TransportObserved
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, names
from tests.transport.conftest import Stream


class Desk:
    """A loop that commits what is due of two partitions whose leases are held, and what it did."""

    def __init__(self, records: Stream, url: str) -> None:
        self.records = records
        self.client = connect(url)
        self.observer = TransportObserved()
        self.streams = [f"{records.name}:{number}" for number in range(2)]
        self.partitions = [Partition((records.name, n), stream, "token") for n, stream in enumerate(self.streams)]
        self.lost: list[Partition] = []
        self.reloads: list[bool] = []
        self.asked = 0
        self.stops = False
        self.loop = CommitLoop(
            Committer(self.client, group=GROUP, options=RedisOptions(dead_letter_after=1)),
            judge=lambda partition, batch: partition.refusals.count(batch),
            held=lambda: self.partitions,
            commit_due=self.commit_due,
            lose=self.lost.append,
            reload=lambda: self.reloads.append(True),
            observer=self.observer,
            stopping=lambda: self.stops,
        )

    async def commit_due(self) -> bool:
        self.asked += 1
        done = [await self.loop.commit_until(p, p.ledger.watermark) for p in list(self.loop.due())]
        return any(done)

    async def begin(self) -> None:
        """Take the leases and make the groups."""
        for stream in self.streams:
            await self.records.redis.set(keys.lease(stream, GROUP), "token")
            await self.records.redis.xgroup_create(stream, GROUP, id="0", mkstream=True)

    async def read(self, number: int, entries: int) -> InFlight:
        """Put a batch of a partition in flight."""
        await self.records.publish(names("r", entries), stream=self.streams[number])
        reply = await execute(
            self.client, "XREADGROUP", "GROUP", GROUP, "me", "COUNT", entries, "STREAMS", self.streams[number], ">"
        )
        ((_, read),) = streams(reply)
        return self.partitions[number].ledger.register(RecordBatch(self.streams[number], read))

    def settle(self, flight: InFlight) -> None:
        flight.settled = True
        self.loop.wake()

    async def pending(self) -> list[int]:
        return [await self.records.pending(stream) for stream in self.streams]


@pytest.fixture
async def desk(records: Stream, redis_url: str) -> AsyncIterator[Desk]:
    async with running(records, redis_url) as desk:
        yield desk


@contextlib.asynccontextmanager
async def running(records: Stream, url: str) -> AsyncIterator[Desk]:
    desk = Desk(records, url)
    await desk.begin()
    try:
        async with desk.loop:
            yield desk
    finally:
        await close(desk.client)


async def test_a_settled_batch_is_committed_at_once(desk: Desk) -> None:
    """A batch that was settled is committed and forgotten without anybody asking; the other partition is left alone."""
    flight = await desk.read(0, 3)
    await desk.read(1, 2)
    desk.settle(flight)
    await eventually(lambda: desk.observer.total["acknowledged"] == 3)
    assert await desk.pending() == [0, 2]
    assert desk.partitions[0].ledger.committed == 1
    assert list(desk.loop.due()) == []


async def test_nothing_overtakes_the_oldest_batch(desk: Desk) -> None:
    """A batch that settles before an older one waits for it; then both are committed."""
    older, newer = await desk.read(0, 1), await desk.read(0, 2)
    desk.settle(newer)
    await eventually(lambda: desk.asked)
    assert (list(desk.loop.due()), await desk.pending()) == ([], [3, 0])
    desk.settle(older)
    await eventually(lambda: desk.observer.total["acknowledged"] == 3)


async def test_dead_letters_are_told_by_reason(desk: Desk) -> None:
    """Entries that go to the dead letters are told by their class of reasons, each by the real number."""
    flight = await desk.read(0, 4)
    ids = [entry_id for entry_id, _ in flight.batch.entries]
    flight.batch.bury(ids[0], "database", "it says no")
    flight.batch.bury(ids[1], "decode", "it is broken")
    flight.batch.refuse(ids[2], "decode", "so is this one")
    desk.settle(flight)
    await eventually(lambda: desk.observer.total["acknowledged"] == 1)
    assert desk.observer.dead == {"database": 1, "decode": 2}


async def test_a_lost_lease_is_told(desk: Desk) -> None:
    """With somebody else's lease nothing is committed: whoever holds the partition is told, the other one goes on."""
    lost, kept = await desk.read(0, 1), await desk.read(1, 1)
    await desk.records.redis.set(keys.lease(desk.streams[0], GROUP), "somebody else#1")
    lost.settled = True
    desk.settle(kept)
    await eventually(lambda: desk.observer.total["acknowledged"] == 1)
    await eventually(lambda: desk.lost)
    assert desk.lost[0] is desk.partitions[0]
    assert await desk.pending() == [1, 0]


async def test_a_stopping_application_does_not_wait_for_redis(
    records: Stream, redis_url: str, tcp_proxy: ProxyFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """While Redis is away a commit is tried again until the application stops; then the batch is left pending."""
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    line = await tcp_proxy(host, int(port))
    async with running(records, url_through(line, redis_url)) as desk:
        flight = await desk.read(0, 1)
        await line.refuse()
        line.cut()
        desk.settle(flight)
        await eventually(lambda: desk.observer.retries["commit"] >= 2)
        desk.stops = True
        await eventually(lambda: "left pending" in caplog.text)
        await eventually(lambda: not list(desk.loop.due()))
        assert await desk.loop.commit_until(desk.partitions[0], 1) is False
        assert await desk.pending() == [1, 0]


async def test_what_redis_refuses_holds_up_no_other(desk: Desk) -> None:
    """A partition whose commit fails until somebody mends it is tried again and again, judged once; others go on."""
    flight = await desk.read(0, 3)
    flight.batch.refuse(flight.batch.entries[0][0], "decode", "it is broken")
    dead = keys.dead_letters(desk.streams[0])
    await desk.records.redis.set(dead, "in the way")
    desk.settle(flight)
    await eventually(lambda: dead in (desk.loop.failure or ""))
    desk.settle(await desk.read(1, 2))
    await eventually(lambda: desk.observer.total["acknowledged"] == 2)
    assert not desk.partitions[0].readable
    await eventually(lambda: desk.observer.retries["commit"] >= 2)
    await desk.records.redis.delete(dead)
    await eventually(lambda: desk.observer.total["acknowledged"] == 4)
    assert desk.loop.failure is None
    assert len(desk.partitions[0].refusals) == 1


async def test_a_conflict_ends_what_redis_refused(desk: Desk) -> None:
    """When the state is another one afterwards, it is loaded again, and the partition is readable."""
    flight = await desk.read(0, 1)
    flight.note("table", {"a": b"1"})
    state = keys.state(desk.streams[0], GROUP, "table")
    await desk.records.redis.set(state, "in the way")
    desk.settle(flight)
    await eventually(lambda: state in (desk.loop.failure or ""))
    async with desk.records.redis.pipeline(transaction=True) as pipeline:  # before it is tried again
        pipeline.delete(state)
        pipeline.hset(state, "\0version", "7 another")
        await pipeline.execute()
    await eventually(lambda: desk.reloads)
    assert (desk.partitions[0].refused, desk.loop.failure) == (None, None)
