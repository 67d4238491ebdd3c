"""A Redis Cluster of three nodes with replicas, one of which dies while records are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from faust_redis.redis import keys
from faust_redis.redis.client import close, connect, execute
from faust_redis.redis.errors import ANY_REDIS_ERROR
from tests.conftest import ValkeyFactory
from tests.support.servers.cluster import Cluster, ask
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE, once_each
from tests.transport.conftest import AppFactory

PARTITIONS: Final = 6
STREAMS: Final = [f"s:{number}" for number in range(PARTITIONS)]
#: A node is taken for dead after two seconds, then a replica is elected.
PATIENCE_S: Final = 60


@pytest.fixture
async def nodes() -> AsyncIterator[Cluster]:
    async with Cluster() as cluster:
        yield cluster


class Producer:
    """Appends records to every partition, again and again until the replica has them, if there is one."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stopping = asyncio.Event()
        self.failures = 0
        self.rounds = 0
        self.published: dict[str, list[str]] = {stream: [] for stream in STREAMS}

    async def run(self) -> None:
        while not self._stopping.is_set():
            await asyncio.gather(*(self._publish(stream) for stream in STREAMS))
            self.rounds += 1
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        self._stopping.set()

    async def _publish(self, stream: str) -> None:
        payloads = [f"{stream}/{self.rounds}-{number}" for number in range(5)]
        while not await self._is_appended(stream, payloads):
            self.failures += 1
            await asyncio.sleep(0.1)
        self.published[stream] += payloads

    async def _is_appended(self, stream: str, payloads: list[str]) -> bool:
        """Append under ids of our own, which makes a repetition harmless; tell whether all who should have them do."""
        master = await self._cluster.master_of(stream)
        if master is None:
            return False
        try:
            async with Redis(port=master.port, socket_timeout=2) as redis:
                pipeline: Any = redis.pipeline(transaction=False)
                for number, payload in enumerate(payloads):
                    pipeline.xadd(stream, {"payload": payload}, id=f"{self.rounds + 1}-{number + 1}")
                pipeline.execute_command("ROLE")
                pipeline.execute_command("WAIT", 1, 200)
                *appended, (_, _, replicas), reached = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError):
            return False
        refused = [one for one in appended if isinstance(one, ResponseError) and "equal or smaller" not in str(one)]
        return not refused and reached >= len(replicas)


class Look:
    """What is stored in the cluster."""

    def __init__(self, url: str) -> None:
        self.client = connect(url)

    async def is_counted(self, published: dict[str, list[str]]) -> bool:
        """Tell whether every record was counted once, and nothing is pending."""
        try:
            return all([await self._is_counted(stream, payloads) for stream, payloads in published.items()])
        except ANY_REDIS_ERROR:
            return False

    async def _is_counted(self, stream: str, payloads: list[str]) -> bool:
        found: Any = await self.client.hgetall(keys.state(stream, GROUP, TABLE))
        counts = {k.decode(): msgspec.msgpack.decode(v) for k, v in found.items() if not k.startswith(b"\x00")}
        summary: Any = await execute(self.client, "XPENDING", stream, GROUP)
        pending = summary["pending"] if isinstance(summary, dict) else summary[0]
        return counts == once_each(payloads) and not pending


async def test_a_node_is_killed(transport_app: AppFactory, nodes: Cluster) -> None:
    """Its replica takes over; two workers go on with every partition, and each record is counted exactly once."""
    options = {"partitions": PARTITIONS, "batch_size": 7, "lease_ttl_ms": 1500, "redeliver_after_ms": 2000}
    apps = [await transport_app("s", url=nodes.url, **options) for _ in range(2)]
    producer, look = Producer(nodes), Look(nodes.url)
    running = asyncio.create_task(producer.run())
    try:
        await eventually(lambda: all(len(app.counted) > 100 for app in apps), timeout_s=PATIENCE_S)
        victim = await nodes.master_of(STREAMS[0])
        assert victim is not None
        await asyncio.to_thread(victim.kill)
        await eventually(lambda: producer.failures > 0, timeout_s=PATIENCE_S)
        before = producer.rounds
        await eventually(lambda: producer.rounds > before + 20, timeout_s=PATIENCE_S, message="producing goes on")
        assert await nodes.master_of(STREAMS[0]) is not victim
        await asyncio.to_thread(victim.start)
        await nodes.in_sync()
        before = producer.rounds
        await eventually(lambda: producer.rounds > before + 20, timeout_s=PATIENCE_S)
        producer.stop()
        await running
        await eventually(lambda: look.is_counted(producer.published), timeout_s=PATIENCE_S, message="each counted once")
    finally:
        running.cancel()
        await close(look.client)
    expected = once_each(payload for payloads in producer.published.values() for payload in payloads)

    def all_held_once() -> bool:
        held = [number for app in apps for number in app.partitions]
        in_memory = {payload: count for app in apps for payload, count in app.counts.items()}
        return (sorted(held), in_memory) == (list(range(PARTITIONS)), expected)

    await eventually(all_held_once, message="each partition is held, and its table is in memory")
    assert not any(app.app.crashed or app.observer.total["trimmed"] for app in apps)


async def test_no_node_answers(transport_app: AppFactory, valkey_factory: ValkeyFactory) -> None:
    """While the whole cluster is gone the worker waits; when it is back everything goes on."""
    server = valkey_factory(appendonly=True, extra_args=["--cluster-enabled", "yes", "--appendfsync", "always"])
    await ask(server, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)

    async def is_up() -> bool:
        return b"cluster_state:ok" in await ask(server, "CLUSTER", "INFO")

    await eventually(is_up)
    url = server.url.replace("redis://", "redis+cluster://")
    app = await transport_app("s", url=url, partitions=2, lease_ttl_ms=1500)
    await ask(server, "XADD", "s:0", "*", "payload", "before")
    await eventually(lambda: app.counts == once_each(["before"]))
    await asyncio.to_thread(server.stop)
    await eventually(lambda: app.observer.reads["error"] > 4 and app.observer.retries["balance"] > 2, timeout_s=60)
    await asyncio.to_thread(server.start)
    await eventually(is_up)
    await ask(server, "XADD", "s:1", "*", "payload", "after")
    await eventually(lambda: app.counts == once_each(["before", "after"]), timeout_s=60)
    assert not app.app.crashed
