"""Workers behind sentinels, whose master dies while records are stored."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.support.certificates import write_certificates
from tests.support.servers.sentinel import SentinelStack
from tests.support.servers.server import server_folder
from tests.support.waiting import eventually
from tests.worker.conftest import GROUP, Pipeline, StartWorker
from tests.worker.servers.traffic import PATIENCE_S, kept, pipeline_of, rows, watch_through
from tests.worker.spectators import Spectators


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
    async with pipeline_of(sentinels.url, plain_postgres_url) as pipeline:
        yield pipeline


async def drained(pipeline: Pipeline) -> bool:
    """Tell whether everything was read and acknowledged; a replica that became the master knows no lag."""
    [group] = [group for group in await pipeline.redis.xinfo_groups(pipeline.stream) if group["name"] == GROUP.encode()]
    last = (await pipeline.redis.xinfo_stream(pipeline.stream))["last-generated-id"]
    return bool(group["pending"] == 0 and group["last-delivered-id"] == last)


@pytest.mark.timeout(300)
async def test_failover_under_load(
    sentinels: SentinelStack,
    pipeline: Pipeline,
    spectators: Spectators,
    start_both: StartWorker,
) -> None:
    """When the master dies, its records are stored once each, and the worker and its maps go on by themselves."""
    worker = start_both()
    await worker.wait_ready()
    await watch_through(partial(asyncio.to_thread, sentinels.master.kill), pipeline, spectators, worker)
    await eventually(partial(drained, pipeline), timeout_s=PATIENCE_S, message="everything is read and acknowledged")
    await worker.wait_ready()
    stored = await rows(pipeline)
    assert len(stored) == len(set(stored))
    assert await kept(pipeline) - set(stored) == set()
    assert await worker.stop() == 0
