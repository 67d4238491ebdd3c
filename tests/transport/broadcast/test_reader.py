"""The reader behind the broadcast, on a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from faust_redis.broadcast import reader as broadcast_reader
from faust_redis.broadcast.groups import remove_groups
from faust_redis.broadcast.reader import BroadcastReader
from faust_redis.observer import NullObserver
from faust_redis.options import RedisOptions
from faust_redis.redis import bounds, wire as read_connection
from faust_redis.redis.client import connect
from faust_redis.stream.batch import RecordBatch
from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.waiting import eventually
from tests.transport.conftest import Stream

PREFIX = "live-broadcast-"


class Retries(NullObserver):
    def __init__(self) -> None:
        self.operations: list[str] = []

    def retried(self, operation: str) -> None:
        self.operations.append(operation)


class Desk:
    """A reader and what it has handed over."""

    def __init__(self, url: str, topic: str, *, partitions: int = 1, **options: Any) -> None:
        self.numbers: list[int] = []
        self.is_handed_more = False
        self.may_read = True
        self.open = asyncio.Event()
        self.open.set()
        self.retries = Retries()
        given: dict[str, Any] = {"instance_id": "one", "batch_size": 100, "block_ms": 20, "observer": self.retries}
        self.reader = BroadcastReader(
            url,
            topic=topic,
            partitions=partitions,
            group_prefix=PREFIX,
            put=self.put,
            options=RedisOptions(**{**given, **options}),
            may_read=lambda: self.may_read,
        )

    async def put(self, batch: RecordBatch) -> None:
        self.is_handed_more = True
        await self.open.wait()
        self.is_handed_more = False
        self.numbers += [int(fields[1]) for _, fields in batch]

    async def has(self, numbers: list[int]) -> None:
        await eventually(lambda: len(self.numbers) >= len(numbers), message=f"{len(numbers)} entries arrive")
        assert self.numbers == numbers


@contextlib.asynccontextmanager
async def reading(url: str, topic: str, **options: Any) -> AsyncIterator[Desk]:
    desk = Desk(url, topic, **options)
    async with desk.reader:
        await asyncio.wait_for(desk.reader.start_vector(), 10)
        yield desk


async def is_ready(desk: Desk) -> bool:
    return await desk.reader.why_not_ready() is None


async def fails_with(desk: Desk, error: str) -> bool:
    return error in (await desk.reader.why_not_ready() or "")


async def add(redis: Redis, stream: str, numbers: range) -> None:
    for number in numbers:
        await redis.xadd(stream, {"n": number})


async def groups(redis: Redis, stream: str) -> list[str]:
    return sorted(info["name"].decode() for info in await redis.xinfo_groups(stream))


async def test_it_reads_what_comes_in_every_process(redis: Redis, redis_url: str, stream: str) -> None:
    """Each instance is given every entry from its start on, in order, and nothing stays pending."""
    await add(redis, stream, range(3))
    async with reading(redis_url, stream) as one, reading(redis_url, stream, instance_id="two") as two:
        assert await groups(redis, stream) == ["live-broadcast-one", "live-broadcast-two"]
        await add(redis, stream, range(3, 500))
        for desk in (one, two):
            await desk.has(list(range(3, 500)))
        assert [info["pending"] for info in await redis.xinfo_groups(stream)] == [0, 0]
    assert await groups(redis, stream) == []


async def test_all_partitions_are_read(redis: Redis, redis_url: str, stream: str) -> None:
    """Every stream of the topic is read by one reader, and streams that do not exist yet are made."""
    async with reading(redis_url, stream, partitions=3) as desk:
        for partition in range(3):
            await add(redis, f"{stream}:{partition}", range(partition * 10, partition * 10 + 10))
        await eventually(lambda: len(desk.numbers) == 30)
        assert sorted(desk.numbers) == list(range(30))


async def test_it_knows_when_it_is_up_to_date(redis: Redis, redis_url: str, stream: str) -> None:
    """`caught_up_at` passes a moment once everything before it was handed over, not while batches come full."""
    async with reading(redis_url, stream, batch_size=10) as desk:
        desk.open.clear()
        await add(redis, stream, range(50))
        appended_at = asyncio.get_running_loop().time()
        assert desk.reader.caught_up_at <= appended_at
        desk.open.set()
        await eventually(lambda: desk.reader.caught_up_at > appended_at)
        assert desk.numbers == list(range(50))


async def test_long_blocks_are_cut(redis_url: str, stream: str) -> None:
    """However long a read may block, an empty stream is not taken for a silent Redis."""
    async with reading(redis_url, stream, block_ms=60_000) as desk:
        await eventually(lambda: desk.reader.caught_up_at > 0)
        assert desk.retries.operations == []


async def test_a_removed_group_is_made_again(redis: Redis, redis_url: str, stream: str) -> None:
    """When its group is destroyed the reader goes on where it was, without a gap."""
    async with reading(redis_url, stream) as desk:
        await add(redis, stream, range(10))
        await desk.has(list(range(10)))
        await redis.xgroup_destroy(stream, "live-broadcast-one")
        await add(redis, stream, range(10, 20))
        await desk.has(list(range(20)))


async def test_a_deleted_stream_begins_anew(
    redis: Redis, redis_url: str, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When the stream itself is gone the reader goes on with the new one, even with lower ids."""
    async with reading(redis_url, stream) as desk:
        await add(redis, stream, range(10))
        await desk.has(list(range(10)))
        await redis.delete(stream)
        await eventually(lambda: "was created anew" in caplog.text)
        await eventually(lambda: redis.exists(stream))
        await redis.xadd(stream, {"n": 10}, id="5-1")
        await desk.has(list(range(11)))


async def test_a_client_that_has_renamed_its_parts(
    redis: Redis, redis_url: str, stream: str, tcp_proxy: ProxyFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that cannot take over the client's connection reads through the client, and misses nothing either."""
    monkeypatch.setattr(read_connection, "_WRITER", "_renamed")
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    proxy = await tcp_proxy(host, int(port))
    async with reading(f"redis://{host}:{proxy.port}/0", stream) as desk:
        for first in range(0, 120, 40):
            await add(redis, stream, range(first, first + 20))
            proxy.cut()
            await add(redis, stream, range(first + 20, first + 40))
        await desk.has(list(range(120)))


async def test_lost_connections(redis: Redis, redis_url: str, stream: str, tcp_proxy: ProxyFactory) -> None:
    """Connections that break, again and again, cost nothing: not an entry is missed or given twice."""
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    proxy = await tcp_proxy(host, int(port))
    async with reading(f"redis://{host}:{proxy.port}/0", stream) as desk:
        for first in range(0, 400, 40):
            await add(redis, stream, range(first, first + 20))
            proxy.cut()
            await add(redis, stream, range(first + 20, first + 40))

        def is_cut_while_it_reads() -> bool:
            proxy.cut()
            return bool(desk.retries.operations)

        await eventually(is_cut_while_it_reads)
        await add(redis, stream, range(400, 420))
        await desk.has(list(range(420)))
        assert set(desk.retries.operations) == {"broadcast"}


async def test_a_lost_reply_is_read_again(redis: Redis, redis_url: str, stream: str, tcp_proxy: ProxyFactory) -> None:
    """Entries whose delivery got lost on the way count as read for Redis; the reader asks for them again."""
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    proxy = await tcp_proxy(host, int(port))
    async with reading(f"redis://{host}:{proxy.port}/0", stream) as desk:
        await add(redis, stream, range(3))
        await desk.has(list(range(3)))
        proxy.loses = lambda piece: b"lost" in piece
        await redis.xadd(stream, {"n": 3, "lost": "once"})
        await add(redis, stream, range(4, 6))
        await desk.has(list(range(6)))
        assert proxy.loses is None
        assert set(desk.retries.operations) == {"broadcast"}


async def test_redis_starts_again_empty(valkey_factory: ValkeyFactory) -> None:
    """After a restart without its data the reader goes on with what comes, by itself."""
    server = valkey_factory()
    async with reading(server.url, "s") as desk:
        async with Redis.from_url(server.url) as redis:
            await add(redis, "s", range(5))
        await desk.has(list(range(5)))
        server.kill()
        await eventually(desk.reader.why_not_ready)
        server.start()
        async with Redis.from_url(server.url) as redis:
            await add(redis, "s", range(5, 10))
        await desk.has(list(range(10)))


async def test_groups_of_dead_instances_are_removed(redis: Redis, redis_url: str, stream: str) -> None:
    """A group goes when its instance is silent and nobody reads it; those of the living and of others stay."""
    for group in ("live-broadcast-dead", "live-broadcast-idle", "live-broadcast-reading", "processor"):
        await redis.xgroup_create(stream, group, id="$", mkstream=True)
    await redis.xgroup_createconsumer(stream, "live-broadcast-idle", "idle")
    client = connect(redis_url)
    clear_up = functools.partial(remove_groups, client, stream, prefix=PREFIX, alive={"me", "reading"})
    await clear_up(silence_ms=60_000)
    assert await groups(redis, stream) == ["live-broadcast-idle", "live-broadcast-reading", "processor"]

    async def removed() -> bool:
        await clear_up(silence_ms=200)
        return "live-broadcast-idle" not in await groups(redis, stream)

    await eventually(removed)
    assert await groups(redis, stream) == ["live-broadcast-reading", "processor"]
    await client.aclose()


@pytest.mark.parametrize("lost", [pytest.param(True, id="lost"), pytest.param(False, id="late")])
async def test_a_silent_connection_is_left(
    redis: Redis, redis_url: str, stream: str, tcp_proxy: ProxyFactory, monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    """When Redis does not answer in time the reader goes on over a new connection, without gap or repetition.

    Whether what was on its way is lost or arrives in the end, behind the reader's back.
    """
    monkeypatch.setattr(read_connection, "REPLY_TIMEOUT_S", 0.5)
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    proxy = await tcp_proxy(host, int(port))
    async with reading(f"redis://{host}:{proxy.port}/0", stream) as desk:
        await add(redis, stream, range(3))
        await desk.has(list(range(3)))
        proxy.stall()
        await add(redis, stream, range(3, 6))
        await eventually(lambda: fails_with(desk, "TimeoutError"))
        if lost:
            proxy.cut()
        proxy.flow()
        await add(redis, stream, range(6, 9))
        await desk.has(list(range(9)))


@pytest.mark.parametrize("busy", [pytest.param(False, id="waiting"), pytest.param(True, id="busy")])
async def test_failover_behind_one_address(
    valkey_factory: ValkeyFactory, tcp_proxy: ProxyFactory, stream: str, *, busy: bool
) -> None:
    """When another server becomes master behind the same address, the reader leaves the former one by itself.

    A connection that waits in a read is closed by the former master; that of a busy reader only learns it by READONLY.
    """
    # A replica is otherwise only served after five seconds, in case another one comes.
    old, new = valkey_factory(extra_args=["--repl-diskless-sync-delay", "0"]), valkey_factory()
    proxy = await tcp_proxy("127.0.0.1", old.port)
    async with Redis.from_url(old.url) as old_redis, Redis.from_url(new.url) as new_redis:
        await new_redis.replicaof("127.0.0.1", old.port)
        async with reading(f"redis://127.0.0.1:{proxy.port}", stream) as desk:
            await add(old_redis, stream, range(5))
            await desk.has(list(range(5)))
            if busy:
                desk.open.clear()
                await add(old_redis, stream, range(5, 6))
                await eventually(lambda: desk.is_handed_more)
            assert await old_redis.wait(1, 30_000) == 1
            proxy.retarget("127.0.0.1", new.port)
            await new_redis.replicaof("NO", "ONE")
            await old_redis.replicaof("127.0.0.1", 1)
            desk.open.set()
            await add(new_redis, stream, range(6 if busy else 5, 10))
            await desk.has(list(range(10)))


async def test_a_cluster(cluster: Stream) -> None:
    """On a Redis Cluster streams of different slots are read, cut off, and their groups made again."""
    streams = [f"s:{number}" for number in range(3)]
    async with reading(cluster.redis_url, "s", partitions=3) as desk:

        async def publish(numbers: range) -> None:
            for number in numbers:
                await cluster.redis.xadd(streams[number % 3], {"n": number})

        async def has(numbers: range) -> None:
            await eventually(lambda: len(desk.numbers) >= len(numbers), message=f"{len(numbers)} entries arrive")
            assert sorted(desk.numbers) == list(numbers)

        await publish(range(30))
        await has(range(30))
        await cluster.redis.xgroup_destroy(streams[1], "live-broadcast-one")
        await cluster.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await publish(range(30, 60))
        await has(range(60))
    assert [await groups(cluster.redis, stream) for stream in streams] == [[], [], []]


@pytest.fixture(params=["records", "cluster"], ids=["one server", "cluster"])
def where(request: pytest.FixtureRequest) -> Stream:
    """Streams on a single server, and on a cluster."""
    streams: Stream = request.getfixturevalue(request.param)
    return streams


async def test_hundreds_of_streams(where: Stream, caplog: pytest.LogCaptureFixture) -> None:
    """A broadcast of 300 streams brings every record, and takes no connection for each."""
    async with reading(f"{where.redis_url}?max_connections=10", where.name, partitions=300) as desk:
        for number in range(300):
            await where.redis.xadd(f"{where.name}:{number}", {"n": number})
        await eventually(lambda: len(desk.numbers) == 300, timeout_s=30, message="every record arrives")
        assert sorted(desk.numbers) == list(range(300))
    assert "MaxConnectionsError" not in caplog.text


async def test_a_reader_clears_up(
    where: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While it reads, a reader removes what dead instances left in each of its streams, and nothing of the living."""
    streams = [f"{where.name}:{number}" for number in range(3)]
    for stream in streams:
        for group in ("live-broadcast-dead", "processor"):
            await where.redis.xgroup_create(stream, group, mkstream=True)
    # Short, but longer than a busy machine delays a heartbeat.
    monkeypatch.setattr(broadcast_reader, "SILENCE_MS", 3000)
    options = {"partitions": 3, "block_ms": 1}
    async with (
        reading(where.redis_url, where.name, **options) as one,
        reading(where.redis_url, where.name, instance_id="two", **options) as two,
    ):

        async def left() -> set[str]:
            return {group for stream in streams for group in await groups(where.redis, stream)}

        async def is_clear() -> bool:
            return "live-broadcast-dead" not in await left()

        await eventually(is_clear, message="the dead instance's groups are gone")
        assert await left() == {"live-broadcast-one", "live-broadcast-two", "processor"}
        for number in range(30):
            await where.redis.xadd(streams[number % 3], {"n": number})
        await eventually(lambda: sorted(one.numbers) == sorted(two.numbers) == list(range(30)))
    # A reader whose group is taken away makes it again, and says so.
    assert "somebody removed it" not in caplog.text


async def test_a_key_of_another_type(redis: Redis, redis_url: str, stream: str) -> None:
    """Where the stream should be there is something else: the reader says so, and goes on once it is mended."""
    async with reading(redis_url, stream) as desk:
        await redis.set(stream, "no stream")
        await eventually(lambda: fails_with(desk, "WRONGTYPE"))
        await redis.delete(stream)
        await eventually(lambda: is_ready(desk))
        await add(redis, stream, range(3))
        await desk.has(list(range(3)))


async def test_an_entry_that_is_too_large_is_passed_over(
    redis: Redis, redis_url: str, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never read, those around it are, each once and in order."""
    monkeypatch.setattr(bounds, "MOST_REPLY_BYTES", 100_000)
    async with reading(redis_url, stream) as desk:
        await add(redis, stream, range(20))
        await desk.has(list(range(20)))
        async with redis.pipeline(transaction=True) as pipeline:
            for number in range(20, 60):
                pipeline.xadd(stream, {"n": number, "log": "x" * (200_000 if number in {30, 31} else 10)})
            await pipeline.execute()
        await desk.has([number for number in range(60) if number not in {30, 31}])
        assert await is_ready(desk)
