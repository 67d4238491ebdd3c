"""The agents alone, through Faust's test context: no Redis, no database."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from agents.decode import decode
from agents.writer import writer
from faust_redis.driver.channel import DrainingChannel
from faust_redis.stream.batch import RecordBatch
from tables.device_state import device_state
from telemetry_app.app import app, decoded_batches, operations, write_side
from telemetry_app.core.batch import DecodedBatch
from telemetry_app.core.device_state import DeviceState
from tests.support.records import fields


def batch_of(*entries: list[bytes]) -> RecordBatch:
    return RecordBatch("s", [(b"1700000000000-%d" % number, entry) for number, entry in enumerate(entries)])


@pytest.fixture(autouse=True)
async def flowing() -> AsyncIterator[None]:
    """Let Faust's queues flow, as a running worker does."""
    app.flow_control.resume()
    yield
    app.flow_control.suspend()


@pytest.fixture
def device_id() -> str:
    """A device of this test alone: the app and its table belong to the process."""
    return f"device-{uuid.uuid4().hex}"


@pytest.fixture
async def decoded() -> AsyncIterator[Any]:
    """What the decode agent passes on."""
    channel = decoded_batches.clone(is_iterator=True)
    yield channel.queue
    decoded_batches._subscribers.discard(cast("DrainingChannel", channel))


async def test_decode_passes_positions_on_and_folds_them_into_the_table(decoded: Any, device_id: str) -> None:
    """Every readable entry is in the decoded batch, and the device's state counts them."""
    batch = batch_of(
        fields(device_id=device_id), fields(device_id=device_id, timestamp="2026-05-02T12:00:01.000Z", speed=44)
    )
    async with decode.test_context() as agent:
        await agent.put(batch)
        result: DecodedBatch = await asyncio.wait_for(decoded.get(), 5)
    state: DeviceState = device_state[device_id]
    assert ([p.speed for p in result.positions], state.count, state.speed) == ([33.0, 44.0], 2, 44.0)
    assert state.last_seen == datetime(2026, 5, 2, 12, 0, 1, tzinfo=UTC)


async def test_decode_refuses_an_entry_and_keeps_its_neighbours(decoded: Any, device_id: str) -> None:
    """A refused entry is marked with its field and counted; its neighbours go through."""
    before = operations.metrics.decode_errors._value.get()
    batch = batch_of(
        fields(device_id=device_id),
        fields(device_id=device_id, latitude=91),
        [b"no", b"payload"],
        fields(device_id=device_id),
    )
    async with decode.test_context() as agent:
        await agent.put(batch)
        result: DecodedBatch = await asyncio.wait_for(decoded.get(), 5)
    assert len(result.positions) == 2
    assert {entry_id: verdict.detail.split(":")[0] for entry_id, verdict in batch.refused.items()} == {
        b"1700000000000-1": "latitude",
        b"1700000000000-2": "payload",
    }
    assert operations.metrics.decode_errors._value.get() - before == 2


async def test_writer_submits_each_batch_to_the_write_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the agent receives goes to the write queue, in order."""
    submitted: list[object] = []

    async def submit(batch: object) -> None:
        submitted.append(batch)

    monkeypatch.setattr(write_side.queue, "submit", submit)
    async with writer.test_context() as agent:
        for number in range(3):
            await agent.put(number)
    assert submitted == [0, 1, 2]
