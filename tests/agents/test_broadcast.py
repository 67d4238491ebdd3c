"""The agent that broadcasts, alone: a live side whose delivery a test holds, no Redis, no clients."""

import asyncio

import pytest

from agents.broadcast import broadcast
from faust_redis import RecordBatch
from telemetry_app.app import live_side
from tests.support.batches import batch_of
from tests.support.records import fields
from tests.support.waiting import eventually


class HeldDelivery:
    """Takes a batch when the test lets it."""

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []
        self.release = asyncio.Event()

    async def __call__(self, batch: RecordBatch) -> None:
        self.batches.append(batch)
        await self.release.wait()


@pytest.fixture
def delivery(monkeypatch: pytest.MonkeyPatch) -> HeldDelivery:
    """What the live side does with a batch."""
    held = HeldDelivery()
    monkeypatch.setattr(live_side.live, "deliver", held)
    return held


async def test_every_batch_is_delivered_whole_and_in_order(delivery: HeldDelivery) -> None:
    """The live side gets what was read, unreadable entries included: it is the durable side that reports those."""
    delivery.release.set()
    batches = [batch_of(fields(), [b"no", b"payload"])[0] for _ in range(3)]
    async with broadcast.test_context() as agent:
        for batch in batches:
            await agent.put(batch)
        await eventually(lambda: len(delivery.batches) == 3)
    assert delivery.batches == batches


async def test_nothing_is_acknowledged(delivery: HeldDelivery) -> None:
    """What the broadcast shows is neither settled nor given up, nor is anything refused: that is the durable side's."""
    delivery.release.set()
    batch, said = batch_of(fields(latitude=91))
    async with broadcast.test_context() as agent:
        await agent.put(batch)
        await eventually(lambda: delivery.batches)
    assert (said.said, batch.refused, batch.buried) == ([], {}, {})


async def test_the_next_batch_waits_for_the_one_before(delivery: HeldDelivery) -> None:
    """A live side that has not begun yet holds the reading up, and nothing is dropped."""
    async with broadcast.test_context() as agent:
        for _ in range(2):
            await agent.put(batch_of(fields())[0], wait=False)
        await eventually(lambda: delivery.batches)
        for _ in range(10):
            await asyncio.sleep(0)  # whatever could go on has gone on
        assert len(delivery.batches) == 1
        delivery.release.set()
        await eventually(lambda: len(delivery.batches) == 2)


async def test_the_live_side_takes_no_batch_before_it_has_begun() -> None:
    """Who delivers waits: a position shown before the snapshot's starting point is known would be lost or repeated."""
    batch, _ = batch_of(fields())
    waiting = asyncio.ensure_future(live_side.live.deliver(batch))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
