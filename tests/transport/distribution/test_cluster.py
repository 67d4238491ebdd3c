"""A node of a real cluster dies while a stream is distributed to partitions on all nodes."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from faust_redis.distribution.distributor import Distributor
from faust_redis.options import RedisOptions
from faust_redis.redis import keys
from faust_redis.redis.client import close, connect, execute
from faust_redis.redis.errors import ANY_REDIS_ERROR
from faust_redis.redis.replies import entries
from tests.support.observed import TransportObserved
from tests.support.servers.cluster import Cluster, ask
from tests.support.waiting import eventually
from tests.transport.apps import GROUP

PARTITIONS: Final = 6
#: A node is taken for dead after two seconds, then a replica is elected.
PATIENCE_S: Final = 60


class Producer:
    """Appends to the one stream, whose own node stays alive."""

    def __init__(self, cluster: Cluster, stream: str) -> None:
        self._cluster = cluster
        self._stream = stream
        self.published: list[str] = []
        self.stops = False

    async def run(self) -> None:
        master = await self._cluster.master_of(self._stream)
        assert master is not None
        rounds = 0
        async with Redis(port=master.port) as redis:
            while not self.stops:
                payloads = [f"{rounds}-{number}" for number in range(20)]
                pipeline: Any = redis.pipeline(transaction=False)
                for payload in payloads:
                    pipeline.xadd(self._stream, {"payload": payload})
                replies = await pipeline.execute(raise_on_error=False)
                # While a part of the cluster is down the rest takes nothing.
                self.published += [p for p, reply in zip(payloads, replies, strict=True) if isinstance(reply, bytes)]
                rounds += 1
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("lease_ttl_ms", [60_000, 500], ids=["the lease stays", "the lease is lost"])
async def test_a_node_of_partitions_is_killed(lease_ttl_ms: int) -> None:
    """What it took with it is moved again to its replica, and every entry is in its partition once."""
    async with Cluster() as cluster:
        streams = [keys.partition_stream("s", number, PARTITIONS) for number in range(PARTITIONS)]
        source = await cluster.master_of("s")
        masters = [await cluster.master_of(stream) for stream in streams]
        victim = next(master for master in masters if master is not None and master is not source)
        observer = TransportObserved()
        distributor = Distributor(
            cluster.url, source="s", partitions=streams, group=GROUP, key_of=lambda fields: fields[1],
            options=RedisOptions(observer=observer, batch_size=50, lease_ttl_ms=lease_ttl_ms),
        )  # fmt: skip
        producer, client = Producer(cluster, "s"), connect(cluster.url)
        producing = asyncio.create_task(producer.run())
        await distributor.start()

        async def held() -> list[str]:
            found = []
            for number, stream in enumerate(streams):
                for _, fields in entries(await execute(client, "XRANGE", stream, "-", "+")):
                    assert keys.partition_of(fields[1], PARTITIONS) == number
                    found.append(fields[1].decode())
            return found

        async def complete() -> bool:
            try:
                return sorted(await held()) == sorted(producer.published)
            except ANY_REDIS_ERROR:
                return False

        try:
            await eventually(lambda: observer.total["distributed"] > 500, timeout_s=PATIENCE_S)
            (replica_port,) = [int(replica[1]) for replica in (await ask(victim, "ROLE"))[2]]
            replica = next(node for node in cluster.nodes if node.port == replica_port)
            replica.pause()
            await ask(victim, "CLIENT", "KILL", "TYPE", "replica")  # what comes from now on is lost with the master
            before = observer.total["distributed"]
            await eventually(lambda: observer.total["distributed"] > before + 100)
            await asyncio.to_thread(victim.kill)
            replica.resume()
            await eventually(lambda: observer.retries["distribute"] > 0, timeout_s=PATIENCE_S)
            await eventually(lambda: observer.total["distributed"] > before + 1000, timeout_s=PATIENCE_S)
            producer.stops = True
            await producing
            await eventually(complete, timeout_s=PATIENCE_S, message="every entry is in its partition once")
        finally:
            producing.cancel()
            await distributor.stop()
            await close(client)
