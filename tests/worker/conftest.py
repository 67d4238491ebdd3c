"""A stream, a database and workers between them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis

from faust_redis.redis import keys
from telemetry_app.core.device_state import DeviceState
from telemetry_app.tools.embedded.worker import COMMAND, WorkerProcess
from tests.app.live.conftest import directus, real_directus, stand_in
from tests.app.live.directus.stand_in import DirectusServer
from tests.conftest import WorkerFactory
from tests.support import records
from tests.support.records import FIRST_TS
from tests.support.waiting import eventually
from tests.worker.spectators import TABLES, Spectators

__all__ = ["directus", "real_directus", "stand_in"]

GROUP = "processor"
#: Of workers that must keep what they hold, however long a busy machine lets them wait; nobody waits for an end of it.
STEADY = {"LEASE_TTL_MS": "30000"}
StartWorker = Callable[..., WorkerProcess]


def ms_of(second: int) -> int:
    """Return the timestamp of `record(…, second)` as clients are shown it, in epoch ms."""
    return round((FIRST_TS + timedelta(seconds=second)).timestamp() * 1000)


def record(device: int, second: int, **changes: object) -> dict[str, Any]:
    """Return a payload; `changes` replace fields."""
    taken = (FIRST_TS + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
    base = {"device_id": f"3563070424{device:05d}", "timestamp": taken, "speed": second % 100}
    return records.record(**(base | changes))


class Pipeline:
    """What a test sees of the durable side: the stream before the worker, the table and hash behind it."""

    def __init__(self, redis: Redis, database: asyncpg.Connection[Any], stream: str, env: Mapping[str, str]) -> None:
        self.redis = redis
        self.database = database
        self.stream = stream
        self.env = env

    async def publish(self, payloads: Sequence[Mapping[str, Any]], stream: str | None = None) -> list[bytes]:
        """Append records as tcp-ingestion does; return the entry ids."""
        pipeline = self.redis.pipeline(transaction=False)
        for payload in payloads:
            fields: dict[Any, Any] = {"ts": "2026-05-02T12:00:00Z", "codec": "8E", "payload": json.dumps(payload)}
            pipeline.xadd(stream or self.stream, fields)
        ids: list[bytes] = await pipeline.execute()
        return ids

    async def stored(self) -> int:
        """Return the number of rows; 0 before the table exists."""
        try:
            rows: int = await self.database.fetchval("SELECT count(*) FROM positions")
        except asyncpg.UndefinedTableError:
            return 0
        return rows

    async def pending(self, stream: str | None = None) -> int:
        """Return the number of pending entries."""
        return int((await self.redis.xpending(stream or self.stream, GROUP))["pending"])

    async def unread(self, stream: str | None = None) -> int:
        """Return the number of entries that the group has not read; -1 while Redis does not know, or has no group."""
        key = stream or self.stream
        groups = await self.redis.xinfo_groups(key) if await self.redis.exists(key) else []
        lag = next((group["lag"] for group in groups if group["name"] == GROUP.encode()), None)
        return -1 if lag is None else int(lag)

    async def drained(self) -> bool:
        """Tell whether everything was read and acknowledged."""
        return await self.unread() == 0 and await self.pending() == 0

    async def states(self, stream: str | None = None) -> dict[str, DeviceState]:
        """Return the device states in the hash."""
        raw: dict[Any, Any] = await self.redis.hgetall(keys.state(stream or self.stream, GROUP, "device_state"))
        decode = msgspec.msgpack.Decoder(DeviceState).decode
        return {device.decode(): decode(state) for device, state in raw.items() if not device.startswith(b"\x00")}

    async def dead_letters(self) -> list[dict[bytes, bytes]]:
        """Return the fields of each dead letter."""
        entries: Any = await self.redis.xrange(keys.dead_letters(self.stream))
        return [fields for _, fields in entries]


@pytest.fixture
async def pipeline(redis: Redis, redis_url: str, stream: str, plain_postgres_url: str) -> AsyncIterator[Pipeline]:
    """A pipeline on the shared servers, with a stream and a database of its own."""
    database = await asyncpg.connect(plain_postgres_url)
    env = {
        "REDIS_URL": redis_url,
        "REDIS_TELEMETRY_STREAM": stream,
        "POSTGRES_URL": plain_postgres_url,
        "ROLES": "write",
        "LEASE_TTL_MS": "1500",
    }
    try:
        yield Pipeline(redis, database, stream, env)
    finally:
        await database.close()


@pytest.fixture
def start_worker(worker_process: WorkerFactory, pipeline: Pipeline) -> StartWorker:
    """Give a function that starts a worker of the pipeline; keyword arguments are further variables."""

    def start(*, command: Sequence[str] = COMMAND, **variables: str) -> WorkerProcess:
        return worker_process({**pipeline.env, **variables}, command)

    return start


@pytest.fixture
async def spectators(pipeline: Pipeline, directus: DirectusServer) -> AsyncIterator[Spectators]:
    """Spectators of an event whose devices and rights are entered."""
    user = await directus.add_user()
    event_id = await directus.add_event("Race")
    await directus.allow(user, [event_id])
    await pipeline.database.execute(TABLES)
    await pipeline.database.execute("INSERT INTO entries VALUES (1, $1)", event_id)
    await pipeline.database.executemany(
        "INSERT INTO entry_devices VALUES ($1, 1, $2)", [(n, record(n, 0)["device_id"]) for n in range(10)]
    )
    async with aiohttp.ClientSession() as http:
        yield Spectators(http, event_id, await directus.login(user))


@pytest.fixture
def start_both(start_worker: StartWorker, directus: DirectusServer) -> StartWorker:
    """Give a function that starts a worker with both sides."""

    def start(**variables: str) -> WorkerProcess:
        patient = {"DIRECTUS_BASE_URL": directus.url, "DIRECTUS_TIMEOUT_MS": "30000"}
        return start_worker(**{"ROLES": "write,live"} | patient | variables)

    return start


async def until_counted(worker: WorkerProcess, expected: Mapping[str, float]) -> None:
    """Wait until a worker's metrics are these: what is done is counted a moment later."""
    found: dict[str, float | None] = {}

    async def counted() -> bool:
        metrics = await worker.metrics()
        found.update({name: metrics.get(name) for name in expected})
        return found == expected

    with contextlib.suppress(AssertionError):
        await eventually(counted)
    assert found == expected


async def until_drained(pipeline: Pipeline, timeout_s: float = 60) -> None:
    await eventually(pipeline.drained, timeout_s=timeout_s, message="everything is read and acknowledged")
