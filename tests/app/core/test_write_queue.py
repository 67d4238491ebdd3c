"""A batch on its way to several sinks: real tables, and sinks that a test holds, breaks and ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from telemetry_app.core.sink import Refused, Sink, WriteAbandoned
from telemetry_app.core.write_queue import WriteQueue
from telemetry_app.database.migrate import migrate
from tests.app.core.positions.writing import Desk, desk
from tests.app.core.sinks import HeldSink, SpeedSink, decoded
from tests.support.database import session
from tests.support.waiting import eventually


@contextlib.asynccontextmanager
async def queue_of(*sinks: Sink, concurrency: int = 2) -> AsyncIterator[tuple[WriteQueue, asyncio.Event]]:
    stopping = asyncio.Event()
    queue = WriteQueue(sinks, concurrency=concurrency, stopping=stopping)
    async with queue:
        yield queue, stopping
        stopping.set()


@pytest.fixture
async def tables(plain_postgres_url: str) -> AsyncIterator[Desk]:
    """A writer of positions on a database with the table."""
    await migrate(plain_postgres_url)
    async with desk(plain_postgres_url) as it:
        yield it


async def rows(url: str) -> tuple[int, int]:
    """Return the rows of `positions` and of `speeds`."""
    async with session(url) as connection:
        speeds = await connection.fetchval("SELECT to_regclass('speeds')") and (
            await connection.fetchval("SELECT count(*) FROM speeds")
        )
        return await connection.fetchval("SELECT count(*) FROM positions"), speeds or 0


async def test_a_batch_is_settled_when_the_last_sink_has_it(tables: Desk, plain_postgres_url: str) -> None:
    """What one database has is not acknowledged while another has not answered."""
    held = HeldSink()
    batch, delivery = decoded()
    async with queue_of(tables.writer, held) as (queue, _):
        await queue.submit(batch)
        await eventually(tables.has_inserted(10))
        assert (delivery.said, held.writing) == ([], 1)
        held.release.set()
        await eventually(lambda: delivery.said)
    assert delivery.said == ["settled"]
    assert await rows(plain_postgres_url) == (10, 0)


async def test_every_sink_gets_every_row(tables: Desk, plain_postgres_url: str) -> None:
    """A second table has what the first one has."""
    batch, delivery = decoded()
    async with queue_of(tables.writer, SpeedSink(tables.postgres)) as (queue, _):
        await queue.submit(batch)
        await eventually(lambda: delivery.said)
    assert delivery.said == ["settled"]
    assert await rows(plain_postgres_url) == (10, 10)


async def test_the_sinks_of_a_batch_write_at_the_same_time() -> None:
    """No sink waits for another."""
    one, other = HeldSink(), HeldSink()
    batch, delivery = decoded()
    async with queue_of(one, other) as (queue, _):
        await queue.submit(batch)
        await eventually(lambda: one.writing and other.writing)
        one.release.set()
        other.release.set()
        await eventually(lambda: delivery.said)


async def test_a_sink_that_breaks_after_the_other_has_stored_loses_and_doubles_nothing(
    tables: Desk, plain_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The batch stays pending, and given again it is stored once in each table."""
    broken = HeldSink(fails=RuntimeError("a defect"))
    batch, delivery = decoded()
    async with queue_of(tables.writer, broken) as (queue, _):
        await queue.submit(batch)
        await eventually(tables.has_inserted(10))
        broken.release.set()
        await eventually(lambda: delivery.said)
    assert delivery.said == ["given up"]
    assert "a batch of s could not be written: left pending" in caplog.text
    again, delivery = decoded()
    async with queue_of(tables.writer, SpeedSink(tables.postgres)) as (queue, _):
        await queue.submit(again)
        await eventually(lambda: delivery.said)
    assert delivery.said == ["settled"]
    assert tables.observed.rows == {"inserted": 10, "duplicates": 10}
    assert await rows(plain_postgres_url) == (10, 10)


async def test_when_one_sink_abandons_a_batch_it_is_given_up() -> None:
    """The write to the other sink has ended by then: nothing of the batch is still being written."""
    quick, slow = HeldSink(fails=WriteAbandoned("stopping")), HeldSink()
    batch, delivery = decoded()
    async with queue_of(quick, slow) as (queue, _):
        await queue.submit(batch)
        await eventually(lambda: quick.writing and slow.writing)
        quick.release.set()
        await eventually(lambda: delivery.said)
        assert (slow.writing, slow.cancelled) == (0, 1)
    assert delivery.said == ["given up"]


async def test_a_row_that_any_sink_refuses_is_a_dead_letter(tables: Desk, plain_postgres_url: str) -> None:
    """Each refused row carries the name and the reason of the sink that refuses it; its neighbours are stored."""
    batch, delivery = decoded(
        {"timestamp": "2026-05-02T12:00:00Z", "speed": 400},
        {"timestamp": "2026-05-02T12:00:01Z", "satellites": 40_000},
        {"timestamp": "2026-05-02T12:00:02Z"},
    )
    async with queue_of(tables.writer, SpeedSink(tables.postgres)) as (queue, _):
        await queue.submit(batch)
        await eventually(lambda: delivery.said)
    buried = {entry_id[-1:]: (kind, reason[:10]) for entry_id, (kind, reason) in batch.batch.buried.items()}
    assert buried == {b"0": ("speeds", "speed: 400"), b"1": ("database", "satellites")}
    assert await rows(plain_postgres_url) == (2, 2)


async def test_of_two_refusals_the_first_sinks_is_told() -> None:
    """A row that two sinks refuse is one dead letter, with the reason of the sink that stands first."""
    one, other = HeldSink("one", refuses=[Refused(3, "mine")]), HeldSink("other", refuses=[Refused(3, "theirs")])
    one.release.set()
    other.release.set()
    batch, delivery = decoded()
    async with queue_of(one, other) as (queue, _):
        await queue.submit(batch)
        await eventually(lambda: delivery.said)
    assert [tuple(verdict) for verdict in batch.batch.buried.values()] == [("one", "mine")]


async def test_a_batch_without_positions_is_settled_at_once() -> None:
    """What could not be decoded needs no database."""
    held = HeldSink()
    batch, delivery = decoded({"latitude": 91})
    async with queue_of(held) as (queue, _):
        await queue.submit(batch)
        assert (delivery.said, held.writing) == (["settled"], 0)


async def test_submitting_waits_for_a_free_place() -> None:
    """No more batches are being written than allowed."""
    held = HeldSink()
    async with queue_of(held, concurrency=2) as (queue, _):
        for _ in range(2):
            await queue.submit(decoded()[0])
        third = asyncio.create_task(queue.submit(decoded()[0]))
        await eventually(lambda: held.writing == 2)
        for _ in range(10):
            await asyncio.sleep(0)  # whatever could go on has gone on
        assert (held.writing, third.done()) == (2, False)
        held.release.set()
        await asyncio.wait_for(third, 10)


async def test_stopping_gives_up_what_is_not_stored_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that no database takes stay pending, those that come later too."""
    monkeypatch.setattr("telemetry_app.core.write_queue._LAST_WRITES_S", 0.05)
    held = HeldSink()
    (early, first), (late, second) = decoded(), decoded()
    async with queue_of(held) as (queue, stopping):
        await queue.submit(early)
        stopping.set()
        await eventually(lambda: first.said)
        await queue.submit(late)
    assert (first.said, second.said, held.cancelled) == (["given up"], ["given up"], 1)


async def test_the_queue_is_as_ready_as_its_sinks() -> None:
    """The first sink that does not take positions says why."""
    one, other = HeldSink(), HeldSink()
    queue = WriteQueue((one, other), concurrency=1, stopping=asyncio.Event())
    assert await queue.why_not_ready() is None
    other.reason = "the other is down"
    assert await queue.why_not_ready() == "the other is down"
