"""The pace of reading, and what a failed read leads to, without an application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from faust_redis.options import Pacing, RedisOptions
from faust_redis.redis import keys
from faust_redis.redis.client import close, connect
from faust_redis.stream.intake import Intake
from faust_redis.stream.partition import Partition
from faust_redis.stream.reader import Reader
from tests.conftest import ProxyFactory
from tests.support.observed import TransportObserved
from tests.support.servers.proxy import TcpProxy, url_through
from tests.transport.apps import GROUP, names
from tests.transport.conftest import Stream

#: How long records gather where a read waits for it, and where none does: longer than anything takes.
GATHER_S = {True: 1.0, False: 60.0}
#: The loop wakes up a little early.
CLOCK_STEP_S = 0.05


class Desk:
    """An intake on some partitions, and when it read last."""

    def __init__(self, url: str, *streams: str, **options: Any) -> None:
        self.client = connect(url)
        self.observer = TransportObserved()
        self.partitions = [Partition((stream, 0), stream, "token") for stream in streams]
        for partition in self.partitions:
            partition.claiming = None
        chosen = RedisOptions(observer=self.observer, block_ms=1, instance_id="me", **options)
        self.reader = Reader(self.client, group=GROUP, options=chosen)
        self.intake = Intake(self.client, self.reader, options=chosen, stopping=lambda: False)
        self.begun_at = 0.0
        self.ended_at = 0.0

    async def take(self) -> list[int]:
        """Read once; return the number of entries of each batch."""
        loop = asyncio.get_running_loop()
        self.begun_at = loop.time()
        reads = await self.intake.take(self.partitions, within_s=1)
        self.ended_at = loop.time()
        return [len(batch) for _, batch in reads]


@contextlib.asynccontextmanager
async def reading(url: str, *streams: str, **options: Any) -> AsyncIterator[Desk]:
    desk = Desk(url, *streams, **options)
    try:
        async with Redis.from_url(url) as redis:
            for partition in desk.partitions:
                await redis.set(keys.lease(partition.stream, GROUP), "token")
                await desk.reader.ensure_group(partition)
        yield desk
    finally:
        await close(desk.client)


@pytest.mark.parametrize(("published", "waits"), [(1, True), (4, True), (5, False), (10, False)])
async def test_records_gather_after_a_small_read(
    records: Stream, redis_url: str, published: int, *, waits: bool
) -> None:
    """After a read of less than half a batch, as set here, the next one waits; after a fuller one it does not."""
    pacing = Pacing(gather_s=GATHER_S[waits], full_enough=0.5)
    async with reading(redis_url, records.name, batch_size=10, pacing=pacing) as desk:
        await records.publish(names("r", published))
        assert await desk.take() == [published]
        gathers_until = desk.begun_at + GATHER_S[waits]
        assert waits or desk.ended_at < gathers_until
        await records.publish(["next"])
        assert await desk.take() == [1]
        assert (desk.ended_at >= gathers_until - CLOCK_STEP_S) is waits


@pytest.mark.parametrize(
    ("reads", "waits"),
    [
        ([(4, 4)], True),  # little from each
        ([(1, 5)], False),  # enough from one, and something from the other
        ([(0, 5)], True),  # enough from one, before somebody has come to the other
        ([(0, 10)], True),
        ([(0, 10), (0, 10)], False),  # a backlog of one
        ([(10, 0), (0, 10)], False),  # a backlog of which the parts come in turn
        ([(0, 10), (1, 5), (0, 10)], True),  # a batch that is full now and then is none
        ([(0, 10), (0, 0), (0, 10)], True),
        ([(0, 0)], False),  # silence
    ],
)
async def test_partitions_gather_together(
    records: Stream, redis_url: str, reads: list[tuple[int, int]], *, waits: bool
) -> None:
    """Until there is something of each of two partitions, and half a batch of one, the next read waits.

    After a read of nothing it does not, nor after two full ones.
    """
    streams = [f"{records.name}:{number}" for number in range(2)]
    pacing = Pacing(gather_s=GATHER_S[waits], full_enough=0.5)
    async with reading(redis_url, *streams, batch_size=10, pacing=pacing) as desk:
        for each in reads:
            desk.intake._gather_until = 0.0
            for stream, published in zip(streams, each, strict=True):
                await records.publish(names("r", published), stream=stream)
            assert await desk.take() == [count for count in each if count]
        gathers_until = desk.begun_at + GATHER_S[waits]
        await records.publish(["next"], stream=streams[0])
        assert await desk.take() == [1]
        assert (desk.ended_at >= gathers_until - CLOCK_STEP_S) is waits


async def test_all_that_was_asked_for_is_enough(records: Stream, redis_url: str) -> None:
    """Of entries that may be large few are asked for; when so many came, the next read does not wait."""
    pacing = Pacing(gather_s=GATHER_S[False], full_enough=0.5)
    async with reading(redis_url, records.name, batch_size=10, batch_bytes=20_000, pacing=pacing) as desk:
        await records.publish(names("r", 3))
        assert await desk.take() == [2]
        gathers_until = desk.begun_at + GATHER_S[False]
        assert await desk.take() == [1]
        assert desk.ended_at < gathers_until


@pytest.mark.parametrize(("partitions", "waits"), [(1, False), (2, True)])
async def test_pieces_of_a_batch_count_together(
    records: Stream, redis_url: str, partitions: int, *, waits: bool
) -> None:
    """Large entries, which are passed on in pieces, are enough together; they are of one partition all the same."""
    streams = [f"{records.name}:{number}" for number in range(partitions)]
    pacing = Pacing(gather_s=GATHER_S[waits], full_enough=0.5)
    async with reading(redis_url, *streams, batch_size=10, batch_bytes=20_000, pacing=pacing) as desk:
        for _ in range(2):  # small entries, after which more are asked for
            await records.publish(names("r", 2), stream=streams[0])
            await desk.take()
            desk.intake._gather_until = 0.0
        await records.publish([f"{number}" * 8000 for number in range(6)], stream=streams[0])
        assert await desk.take() == [2, 2, 2]
        gathers_until = desk.begun_at + GATHER_S[waits]
        await records.publish(["next"], stream=streams[0])
        assert await desk.take() == [1]
        assert (desk.ended_at >= gathers_until - CLOCK_STEP_S) is waits


@pytest.fixture
async def line(redis_url: str, tcp_proxy: ProxyFactory) -> TcpProxy:
    parts = urlsplit(redis_url)
    return await tcp_proxy(parts.hostname, parts.port)


async def test_a_failed_read_looks_for_what_was_lost(records: Stream, line: TcpProxy, redis_url: str) -> None:
    """After a failure nothing is raised: it is told, said why, and pending entries are looked for before new ones."""
    async with reading(url_through(line, redis_url), records.name) as desk:
        await records.publish(["lost"])
        await records.redis.xreadgroup(GROUP, "me", {records.name: ">"})
        await records.publish(["new"])
        assert await desk.intake.why_not_ready() is None
        await line.refuse()
        line.cut()
        assert await desk.take() == []
        assert "reading failed (ConnectionError" in (await desk.intake.why_not_ready() or "")
        assert (desk.observer.reads["error"], desk.observer.retries) == (1, {"read": 1})
        assert desk.partitions[0].claiming is not None
        await line.accept()
        found = [await desk.intake.take(desk.partitions, within_s=1) for _ in range(2)]
        payloads = [fields for reads in found for _, batch in reads for _, fields in batch]
        assert payloads == [[b"payload", b"lost"], [b"payload", b"new"]]
        assert await desk.intake.why_not_ready() is None
