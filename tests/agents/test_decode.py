"""The agent that decodes, alone: no Redis, no database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from agents.decode import decode
from faust_redis import DrainingChannel
from tables.device_state import device_state
from tables.folds import FOLDS
from telemetry_app.app import app, decoded_batches, operations, settings
from telemetry_app.core.batch import DecodedBatch
from telemetry_app.core.device_state import DeviceState
from telemetry_app.core.fold import Fold
from tests.support.batches import batch_of
from tests.support.records import fields
from tests.support.waiting import eventually


class Counts:
    """A table that holds how many positions each device sent, as text."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def encoded(self) -> Mapping[str, bytes]:
        return self.values

    def update_encoded(self, changes: dict[str, bytes]) -> None:
        self.values |= changes


def count(known: Mapping[str, bytes], positions: Any, _first_id: object) -> dict[str, bytes]:
    changes: dict[str, bytes] = {}
    for position in positions:
        before = changes.get(position.device_id) or known.get(position.device_id, b"0")
        changes[position.device_id] = b"%d" % (int(before) + 1)
    return changes


@pytest.fixture
async def decoded() -> AsyncIterator[Any]:
    """What the agent passes on; nobody takes it but the test."""
    channel = decoded_batches.clone(is_iterator=True)
    yield channel.queue
    decoded_batches._subscribers.discard(cast("DrainingChannel", channel))


async def test_positions_are_passed_on_and_folded_into_the_table(decoded: Any, device_id: str) -> None:
    """Every readable entry is in the decoded batch, and the device's state counts them."""
    batch, _ = batch_of(
        fields(device_id=device_id), fields(device_id=device_id, timestamp="2026-05-02T12:00:01.000Z", speed=44)
    )
    async with decode.test_context() as agent:
        await agent.put(batch)
        result: DecodedBatch = await asyncio.wait_for(decoded.get(), 5)
    state: DeviceState = device_state[device_id]
    assert ([p.speed for p in result.positions], state.count, state.speed) == ([33.0, 44.0], 2, 44.0)
    assert state.last_seen == datetime(2026, 5, 2, 12, 0, 1, tzinfo=UTC)


async def test_a_refused_entry_costs_its_neighbours_nothing(decoded: Any, device_id: str) -> None:
    """A refused entry is marked with its field and counted; its neighbours go through."""
    before = operations.metrics.decode_errors._value.get()
    batch, _ = batch_of(
        fields(device_id=device_id),
        fields(device_id=device_id, latitude=91),
        [b"no", b"payload"],
        fields(device_id=device_id),
    )
    async with decode.test_context() as agent:
        await agent.put(batch)
        result: DecodedBatch = await asyncio.wait_for(decoded.get(), 5)
    assert len(result.positions) == 2
    assert {entry_id: str(verdict[1]).split(":")[0] for entry_id, verdict in batch.refused.items()} == {
        b"1800000000000-1": "latitude",
        b"1800000000000-2": "payload",
    }
    assert operations.metrics.decode_errors._value.get() - before == 2


async def test_nothing_is_acknowledged(decoded: Any, device_id: str) -> None:
    """A batch is neither settled nor given up here, nor is its message acknowledged by Faust."""
    batch, delivery = batch_of(fields(device_id=device_id))
    async with decode.test_context() as agent:
        event = await agent.put(batch)
        result: DecodedBatch = await asyncio.wait_for(decoded.get(), 5)
    assert (delivery.said, event.message.acked) == ([], False)
    assert result.batch is batch


async def test_a_batch_of_which_nothing_can_be_read_is_passed_on(decoded: Any) -> None:
    """Whoever settles batches gets it, and no table changes."""
    batch, delivery = batch_of([b"no", b"payload"])
    known = len(device_state)
    async with decode.test_context() as agent:
        await agent.put(batch)
        result: DecodedBatch = await asyncio.wait_for(decoded.get(), 5)
    assert (result.positions, delivery.said, len(device_state)) == ([], [], known)


async def test_decoding_waits_while_the_writer_is_behind(decoded: Any, device_id: str) -> None:
    """With the channel full the agent takes no further batch from the stream."""
    room = settings.write_concurrency
    async with decode.test_context() as agent:
        for _ in range(room + 2):
            await agent.put(batch_of(fields(device_id=device_id))[0], wait=False)
        # One more than there is room for has been folded and waits to be passed on; the last one was not touched.
        await eventually(lambda: device_id in device_state and device_state[device_id].count == room + 1)
        for _ in range(10):
            await asyncio.sleep(0)  # whatever could go on has gone on
        assert (decoded.qsize(), device_state[device_id].count) == (room, room + 1)
        for _ in range(room + 2):
            await asyncio.wait_for(decoded.get(), 5)
    assert device_state[device_id].count == room + 2


async def test_every_fold_sees_every_batch(decoded: Any, device_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second computation has its own table, and the first one is none the worse for it."""
    counts = Counts()
    monkeypatch.setattr("agents.decode.FOLDS", (*FOLDS, Fold(counts, count)))
    async with decode.test_context() as agent:
        for _ in range(2):
            await agent.put(batch_of(fields(device_id=device_id), fields(device_id=device_id))[0])
            await asyncio.wait_for(decoded.get(), 5)
    assert (counts.values, device_state[device_id].count) == ({device_id: b"4"}, 4)


def test_the_tables_of_the_folds_are_the_applications() -> None:
    """Each fold's table is one that Faust loads and commits."""
    assert {fold.table for fold in FOLDS} == set(app.tables.values())
