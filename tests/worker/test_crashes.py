"""Workers that die at any moment lose nothing, store nothing twice and count nothing twice."""

import asyncio
import random
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record, until_drained

KILLS = 12
DEVICES = 40


def traffic(rng: random.Random, tick: int) -> list[dict[str, Any]]:
    """Return records of one moment: new ones, late ones, resent ones and unreadable ones."""
    fresh = [record(device, tick * 10 + second) for second in range(5) for device in range(DEVICES)]
    late = [record(rng.randrange(DEVICES), rng.randrange(tick * 10 + 1)) for _ in range(20)]
    resent = rng.sample(fresh, 10)
    unreadable = [record(1, 1, latitude=999)] * 2
    mixed = [*fresh, *late, *resent, *unreadable]
    rng.shuffle(mixed)
    return mixed


@pytest.mark.timeout(240)
async def test_killed_at_random_moments_the_table_equals_a_replay(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """After many SIGKILLs the device states are exactly what a replay of the records gives, counts included."""
    rng = random.Random(7)
    published: list[dict[str, Any]] = []
    worker = start_worker(BATCH_SIZE="50")
    await worker.wait_ready()
    for tick in range(1, KILLS + 1):
        for _ in range(3):
            records = traffic(rng, tick)
            await pipeline.publish(records)
            published += records
            await asyncio.sleep(rng.uniform(0, 0.03))
        worker.kill()
        worker = start_worker(BATCH_SIZE="50")
        # Sometimes the next one is killed while it takes over, sometimes when it has.
        if rng.random() < 0.6:
            await worker.wait_ready()
    readable = [payload for payload in published if payload["latitude"] <= 90]
    await eventually(lambda: _only_refused_left(pipeline, len(published) - len(readable)), timeout_s=60)
    assert await pipeline.stored() == len({(payload["device_id"], payload["timestamp"]) for payload in readable})
    states = await pipeline.states()
    assert {device: state.count for device, state in states.items()} == Counter(
        payload["device_id"] for payload in readable
    )
    newest: dict[str, datetime] = {}
    for payload in readable:
        ts = datetime.fromisoformat(payload["timestamp"])
        newest[payload["device_id"]] = max(newest.get(payload["device_id"], ts), ts)
    assert {device: state.last_seen for device, state in states.items()} == newest


@pytest.mark.timeout(240)
async def test_a_paused_worker_changes_nothing_after_its_lease_moved_on(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """A worker stopped for longer than its lease wakes up fenced off; its successor's counts stay exact."""
    first = start_worker()
    await first.wait_ready()
    await pipeline.publish([record(device, 1) for device in range(DEVICES)])
    await until_drained(pipeline)
    first.pause()
    await pipeline.publish([record(device, 2) for device in range(DEVICES)])
    second = start_worker()
    await second.wait_ready()
    await until_drained(pipeline)
    first.resume()
    await pipeline.publish([record(device, 3) for device in range(DEVICES)])
    # What the first one read before it noticed is left pending: its successor claims it after the redelivery interval.
    await eventually(lambda: _stored(pipeline, 3 * DEVICES), timeout_s=90)
    await until_drained(pipeline, timeout_s=90)
    assert {state.count for state in (await pipeline.states()).values()} == {3}
    assert (first.exit_code, second.exit_code) == (None, None)


async def _only_refused_left(pipeline: Pipeline, refused: int) -> bool:
    """Tell whether only unreadable entries are left; those that were taken over often enough are dead letters."""
    # In this order: what is read meanwhile is pending then, and what becomes a dead letter counts twice, not never.
    if await pipeline.unread() != 0:
        return False
    return await pipeline.pending() + len(await pipeline.dead_letters()) == refused


async def _stored(pipeline: Pipeline, rows: int) -> bool:
    return await pipeline.stored() == rows
