"""A worker of both sides on a Redis Cluster, of which a node dies while records are stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from tests.support.servers.cluster import Cluster
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker
from tests.worker.servers.traffic import PATIENCE_S, kept, pipeline_of, rows, watch_through
from tests.worker.spectators import Spectators


class OneByOne(Pipeline):
    """Appends each record by itself: only then does the cluster's client learn of a failover."""

    async def publish(self, payloads: Sequence[Mapping[str, Any]], stream: str | None = None) -> list[bytes]:
        """Append records as tcp-ingestion does; return the entry ids."""
        key = stream or self.stream
        ids: list[Any] = [await self.redis.xadd(key, {"payload": json.dumps(payload)}) for payload in payloads]
        return ids


@pytest.fixture
async def nodes() -> AsyncIterator[Cluster]:
    async with Cluster() as cluster:
        yield cluster


@pytest.fixture
async def pipeline(nodes: Cluster, plain_postgres_url: str) -> AsyncIterator[Pipeline]:
    """A pipeline on the cluster, whose one stream is distributed to partitions, with a database of its own."""
    async with pipeline_of(nodes.url, plain_postgres_url, OneByOne, REDIS_TELEMETRY_PARTITIONS="4") as pipeline:
        yield pipeline


@pytest.mark.timeout(300)
async def test_a_node_is_killed_under_load(
    nodes: Cluster, pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """When the node of the ingestion's stream dies, records are stored once each, and maps go on by themselves."""
    worker = start_both()
    await worker.wait_ready()

    async def kill() -> None:
        victim = await nodes.master_of(pipeline.stream)
        assert victim is not None
        await asyncio.to_thread(victim.kill)

    await watch_through(kill, pipeline, spectators, worker)

    async def all_stored() -> bool:
        return await kept(pipeline) <= set(await rows(pipeline))

    await eventually(all_stored, timeout_s=PATIENCE_S, message="what the cluster has is stored")
    stored = await rows(pipeline)
    assert len(stored) == len(set(stored))
    await worker.wait_ready()
    assert await worker.stop() == 0
