"""The agent that writes, alone: sinks that a test holds, no Redis, no database."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from agents.writer import writer
from telemetry_app.app import write_side
from telemetry_app.core.sink import WriteAbandoned
from telemetry_app.core.write_queue import WriteQueue
from tests.app.core.sinks import HeldSink, decoded
from tests.support.waiting import eventually


@contextlib.asynccontextmanager
async def writing_to(sink: HeldSink, monkeypatch: pytest.MonkeyPatch, *, concurrency: int = 1) -> AsyncIterator[None]:
    """Let the agent write to a sink of the test's."""
    stopping = asyncio.Event()
    queue = WriteQueue([sink], concurrency=concurrency, stopping=stopping)
    async with queue:
        monkeypatch.setattr("agents.writer.write_side", dataclasses.replace(write_side, queue=queue))
        yield
        stopping.set()


async def test_a_batch_is_settled_when_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged while the database has not answered."""
    sink = HeldSink()
    batch, delivery = decoded()
    async with writing_to(sink, monkeypatch), writer.test_context() as agent:
        await agent.put(batch)
        await eventually(lambda: sink.writing)
        assert delivery.said == []
        sink.release.set()
        await eventually(lambda: delivery.said)
    assert delivery.said == ["settled"]


async def test_a_batch_is_given_up_when_the_database_does_not_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays pending."""
    sink = HeldSink(fails=WriteAbandoned("stopping"))
    sink.release.set()
    batch, delivery = decoded()
    async with writing_to(sink, monkeypatch), writer.test_context() as agent:
        await agent.put(batch)
        await eventually(lambda: delivery.said)
    assert delivery.said == ["given up"]


async def test_the_agent_waits_while_as_many_batches_as_allowed_are_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond these it takes one batch, the channel's bound holds the others up; all are written in their order."""
    sink = HeldSink()
    batches = [decoded() for _ in range(5)]
    async with writing_to(sink, monkeypatch, concurrency=2), writer.test_context() as agent:
        putting = asyncio.gather(*(agent.put(batch, wait=False) for batch, _ in batches))
        await eventually(lambda: (sink.writing, agent.processed_offset) == (2, 3))
        for _ in range(100):
            await asyncio.sleep(0)  # whatever could go on has gone on
        assert sink.seen == [batch.positions for batch, _ in batches[:2]]
        assert agent.processed_offset == 3  # taken from the channel
        sink.release.set()
        await putting
        await eventually(lambda: all(delivery.said for _, delivery in batches))
    assert sink.seen == [batch.positions for batch, _ in batches]
    assert [delivery.said for _, delivery in batches] == [["settled"]] * 5
