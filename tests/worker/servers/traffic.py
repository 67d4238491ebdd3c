"""Records that are published while a server dies, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg

from faust_redis.redis.client import close, connect
from faust_redis.redis.errors import ANY_REDIS_ERROR
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, ms_of, record
from tests.worker.spectators import Client, Spectators

DEVICES = 10
#: A busy machine notices slowly that a server has died, and needs some time until another one is in its place.
PATIENCE_S = 60


@contextlib.asynccontextmanager
async def pipeline_of(
    redis_url: str, postgres_url: str, kind: type[Pipeline] = Pipeline, **variables: str
) -> AsyncIterator[Pipeline]:
    """A pipeline on servers of the test's own.

    Args:
        redis_url: Where the stream is.
        postgres_url: A database of its own.
        kind: How it publishes.
        variables: Further environment variables of its workers.
    """
    database = await asyncpg.connect(postgres_url)
    env = {
        "REDIS_URL": redis_url,
        "REDIS_TELEMETRY_STREAM": "telemetry",
        "POSTGRES_URL": postgres_url,
        "LEASE_TTL_MS": "1500",
        **variables,
    }
    client: Any = connect(redis_url)
    try:
        yield kind(client, database, "telemetry", env)
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
            except ANY_REDIS_ERROR:
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
        await eventually(lambda: self.second >= wanted, timeout_s=PATIENCE_S, message="records are published")


async def kept(pipeline: Pipeline) -> set[tuple[str, str]]:
    """Return device and timestamp of each entry that the master has now."""
    entries: Any = await pipeline.redis.xrange(pipeline.stream)
    payloads = [json.loads(fields[fields.index(b"payload") + 1]) for _, fields in entries]
    return {(payload["device_id"], payload["timestamp"]) for payload in payloads}


async def rows(pipeline: Pipeline) -> list[tuple[str, str]]:
    """Return device and timestamp of each row."""
    fetched = await pipeline.database.fetch("SELECT device_id, ts FROM positions")
    return [(row["device_id"], row["ts"].isoformat().replace("+00:00", "Z")) for row in fetched]


async def until_shown(client: Client, second: int) -> None:
    """Read frames until one is as new as this."""
    async with asyncio.timeout(PATIENCE_S):
        while (await client.receive()).get("ts", 0) < ms_of(second):
            pass


async def watch_through(
    kill: Callable[[], Awaitable[object]], pipeline: Pipeline, spectators: Spectators, worker: WorkerProcess
) -> None:
    """Publish while a spectator watches, before and after something dies; what was published is shown in the end."""
    producer = Producer(pipeline)
    publishing = asyncio.create_task(producer.run())
    async with spectators.connect(worker) as client:
        assert (await client.subscribe(spectators.event_id))["type"] == "subscribed"
        await producer.goes_on(50)
        await until_shown(client, producer.second)
        await kill()
        await eventually(lambda: producer.failures, timeout_s=PATIENCE_S, message="the producer has noticed")
        await producer.goes_on(50)
        await until_shown(client, producer.second)
        producer.stop()
        await publishing
        await until_shown(client, producer.second)
