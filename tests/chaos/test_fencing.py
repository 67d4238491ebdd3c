"""A commit that was on its way while its partition got another owner: refused, and noticed when it is not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from faust_redis.redis import keys
from telemetry_app.tools.embedded.worker import COMMAND, WorkerProcess
from tests.chaos import mutations
from tests.chaos.watch import Event, Watch
from tests.conftest import ProxyFactory, ValkeyFactory, WorkerFactory
from tests.support.database import session
from tests.support.waiting import eventually
from tests.worker.conftest import GROUP, Pipeline, record, until_drained

STREAM = "telemetry:fencing"
#: Of four devices, and of one whose record is refused.
RECORDS = [record(device, 1, latitude=40 if device < 4 else 999) for device in range(5)]
PATIENCE_S = 60


@contextlib.asynccontextmanager
async def storing_waits(url: str) -> AsyncIterator[None]:
    """Let nobody store a position until the block ends."""
    async with session(url) as database, database.transaction():
        await database.execute("LOCK TABLE positions IN SHARE MODE")
        yield


async def publish(redis: Redis) -> None:
    """Append all records in one step, so that they are one batch."""
    pipeline = redis.pipeline(transaction=True)
    for payload in RECORDS:
        pipeline.xadd(STREAM, {"payload": json.dumps(payload)})
    await pipeline.execute()


async def is_read(redis: Redis, name: str) -> bool:
    """Tell whether a worker has read all records, and nobody has acknowledged one."""
    found: Any = await redis.xpending_range(STREAM, GROUP, "-", "+", 10)
    return [entry["consumer"] for entry in found] == [name.encode()] * len(RECORDS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("without", [None, "commit-fencing"])
async def test_a_late_commit(
    valkey_factory: ValkeyFactory,
    tcp_proxy: ProxyFactory,
    plain_postgres_url: str,
    worker_process: WorkerFactory,
    without: str | None,
) -> None:
    """It changes nothing; and where nobody looks at its lease, the watch over the writers says what it has written."""
    server, watch = valkey_factory(), Watch()
    proxy = await tcp_proxy("127.0.0.1", server.port)
    command = COMMAND if without is None else mutations.command(without)
    env = {"REDIS_TELEMETRY_STREAM": STREAM, "POSTGRES_URL": plain_postgres_url, "ROLES": "write"}
    env |= {"DEAD_LETTER_AFTER": "1"}
    async with (
        watch.following(server.port),
        Redis.from_url(server.url, socket_timeout=PATIENCE_S) as redis,
        session(plain_postgres_url) as database,
    ):

        def from_former() -> list[Event]:
            return [event for event in watch.late() if event.writer.startswith("former#")]

        pipeline = Pipeline(redis, database, STREAM, env)
        way = f"redis://127.0.0.1:{proxy.port}/0"
        # The owner's lease outlasts what a busy machine does to it: the former one must not get it back.
        leases = {"former": "1500", "owner": "9000"}

        def start(name: str, url: str) -> WorkerProcess:
            return worker_process({**env, "REDIS_URL": url, "INSTANCE_ID": name, "LEASE_TTL_MS": leases[name]}, command)

        former = start("former", way)
        await former.wait_ready()
        proxy.holds = lambda piece: b"EVALSHA" in piece and keys.dead_letters(STREAM).encode() in piece
        await publish(redis)
        await eventually(lambda: proxy.holds is None, timeout_s=PATIENCE_S, message="a commit is on its way")
        proxy.stall("to server")
        async with storing_waits(plain_postgres_url):
            owner = start("owner", server.url)
            await eventually(partial(is_read, redis, "owner"), timeout_s=PATIENCE_S)
            proxy.flow()
            await eventually(from_former, timeout_s=PATIENCE_S, message="the commit arrives")
            left = await pipeline.pending(), len(await pipeline.states()), len(await pipeline.dead_letters())
        # On a slow machine it was sent more than once meanwhile.
        assert {event.passed for event in from_former()} == {without is not None}
        assert left == ((5, 0, 0) if without is None else (0, 4, 1))
        await until_drained(pipeline, PATIENCE_S)
        states = await pipeline.states()
        assert [state.count for state in states.values()] == [1] * 4
        assert len(await pipeline.dead_letters()) == 1
        assert [await worker.stop(timeout_s=PATIENCE_S) for worker in (former, owner)] == [0, 0]
