"""Workers behind sentinels, whose master dies while records are stored."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import asyncpg
import pytest
from redis.exceptions import RedisError

from faust_redis.redis.client import close, connect
from tests.support.certificates import write_certificates
from tests.support.servers.sentinel import SentinelStack
from tests.support.servers.server import server_folder
from tests.support.waiting import eventually
from tests.worker.conftest import GROUP, Pipeline, StartWorker, ms_of, record
from tests.worker.spectators import Client, Spectators

DEVICES = 10


@pytest.fixture(params=["plain text", "TLS"])
async def sentinels(request: pytest.FixtureRequest) -> AsyncIterator[SentinelStack]:
    folder = server_folder()
    write_certificates(folder)
    async with SentinelStack(folder if request.param == "TLS" else None) as stack:
        yield stack
    shutil.rmtree(folder)


@pytest.fixture
async def pipeline(sentinels: SentinelStack, plain_postgres_url: str) -> AsyncIterator[Pipeline]:
    """A pipeline behind the sentinels, with a database of its own."""
    database = await asyncpg.connect(plain_postgres_url)
    env = {
        "REDIS_URL": sentinels.url,
        "REDIS_TELEMETRY_STREAM": "telemetry",
        "POSTGRES_URL": plain_postgres_url,
        "LEASE_TTL_MS": "1500",
    }
    client: Any = connect(sentinels.url)
    try:
        yield Pipeline(client, database, "telemetry", env)
    finally:
        await close(client)
        await database.close()


class Producer:
    """Publishes a record of each device again and again, and tries again what Redis did not answer."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._stopping = False
        self.second = 0
        self.failures = 0

    async def run(self) -> None:
        while not self._stopping:
            try:
                await self._pipeline.publish([record(device, self.second + 1) for device in range(DEVICES)])
            except (RedisError, OSError):
                self.failures += 1
                await asyncio.sleep(0.05)
            else:
                self.second += 1
                await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._stopping = True

    async def goes_on(self, seconds: int) -> None:
        """Wait until as many more records of each device are published."""
        wanted = self.second + seconds
        await eventually(lambda: self.second >= wanted, timeout_s=30, message="records are published")


async def kept(pipeline: Pipeline) -> set[tuple[str, str]]:
    """Return device and timestamp of each entry that the master has now."""
    entries: Any = await pipeline.redis.xrange(pipeline.stream)
    payloads = [json.loads(fields[fields.index(b"payload") + 1]) for _, fields in entries]
    return {(payload["device_id"], payload["timestamp"]) for payload in payloads}


async def drained(pipeline: Pipeline) -> bool:
    """Tell whether everything was read and acknowledged; a replica that became the master knows no lag."""
    [group] = [group for group in await pipeline.redis.xinfo_groups(pipeline.stream) if group["name"] == GROUP.encode()]
    last = (await pipeline.redis.xinfo_stream(pipeline.stream))["last-generated-id"]
    return bool(group["pending"] == 0 and group["last-delivered-id"] == last)


async def rows(pipeline: Pipeline) -> list[tuple[str, str]]:
    """Return device and timestamp of each row."""
    fetched = await pipeline.database.fetch("SELECT device_id, ts FROM positions")
    return [(row["device_id"], row["ts"].isoformat().replace("+00:00", "Z")) for row in fetched]


async def until_shown(client: Client, second: int) -> None:
    """Read frames until one is as new as this."""
    async with asyncio.timeout(20):
        while (await client.receive()).get("ts", 0) < ms_of(second):
            pass


@pytest.mark.timeout(120)
async def test_failover_under_load(
    sentinels: SentinelStack,
    pipeline: Pipeline,
    spectators: Spectators,
    start_both: StartWorker,
) -> None:
    """When the master dies, its records are stored once each, and the worker and its maps go on by themselves."""
    worker = start_both()
    await worker.wait_ready()
    producer = Producer(pipeline)
    publishing = asyncio.create_task(producer.run())
    async with spectators.connect(worker) as client:
        assert (await client.subscribe(spectators.event_id))["type"] == "subscribed"
        await producer.goes_on(50)
        await until_shown(client, producer.second)
        sentinels.master.kill()
        await eventually(lambda: producer.failures, timeout_s=30, message="the producer has noticed")
        await producer.goes_on(50)
        await until_shown(client, producer.second)
        producer.stop()
        await publishing
        await until_shown(client, producer.second)
    await eventually(partial(drained, pipeline), timeout_s=30, message="everything is read and acknowledged")
    await worker.wait_ready()
    stored = await rows(pipeline)
    assert len(stored) == len(set(stored))
    assert await kept(pipeline) - set(stored) == set()
    assert await worker.stop() == 0
