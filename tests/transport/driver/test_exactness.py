"""Memory and what is stored never part unnoticed, whatever comes between a batch and its commit."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from faust_redis.driver import consumer
from faust_redis.redis import keys
from faust_redis.redis.client import execute
from faust_redis.redis.replies import facts
from faust_redis.stream.ledger import MOST_HELD_UP
from faust_redis.stream.versions import FIELD
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE, TransportApp, names, once_each
from tests.transport.conftest import AppFactory, Stream

#: How long a step waits for something that must not happen before it.
MUST_NOT_S = 0.5


class Holder:
    """Keeps the events of a batch, for the test to acknowledge."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def __call__(self, _app: TransportApp, event: Any) -> None:
        self.events.append(event)


def rebalance(app: TransportApp) -> asyncio.Task[None]:
    """Start a change of the holdings in which everything stays, and begins anew."""
    return asyncio.create_task(app.consumer.ownership._change(anew=list(app.consumer.holdings.values())))


async def _store(records: Stream, values: dict[str, int], version: bytes | None = None) -> None:
    fields: dict[Any, bytes] = {key: msgspec.msgpack.encode(value) for key, value in values.items()}
    await records.redis.hset(
        keys.state(records.name, GROUP, TABLE), mapping=fields | ({FIELD: version} if version else {})
    )


async def _exactly(records: Stream, app: TransportApp, expected: dict[str, int]) -> None:
    async def stands() -> bool:
        return await records.state() == expected and app.counts == expected and not await records.pending()

    await eventually(stands, message=f"memory and hash hold {expected}")


async def test_what_settles_during_a_commit_is_committed_before_tables_are_loaded(
    transport_app: AppFactory, records: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that settles while another is committed, as a rebalance begins, is stored before the table is loaded."""
    held = Holder()
    app = await transport_app(records.name, batch_size=1, handle=held, noack=True)
    await records.publish(names("r", 3))
    await eventually(lambda: len(held.events) == 3)
    gate, loaded = asyncio.Event(), asyncio.Event()
    committer = app.consumer.commits._committer
    commit, load = committer.commit, app.table.data._load  # type: ignore[attr-defined]
    begun: list[int] = []
    loads: list[int] = []

    async def slow_commit(partition: Any, flight: Any) -> Any:
        begun.append(flight.offset)
        await gate.wait()
        if flight.offset == 1:
            await asyncio.wait([asyncio.ensure_future(loaded.wait())], timeout=MUST_NOT_S)
        return await commit(partition, flight)

    async def telling_load(*args: Any) -> Any:
        values = await load(*args)
        loaded.set()
        loads.append(len(values))
        return values

    monkeypatch.setattr(committer, "commit", slow_commit)
    monkeypatch.setattr(app.table.data, "_load", telling_load)
    held.events[0].ack()
    await eventually(lambda: begun == [0])
    held.events[1].ack()
    held.events[2].message.give_up()
    change = rebalance(app)
    (partition,) = app.consumer.holdings.values()
    await eventually(lambda: not partition.open)
    gate.set()
    await change
    await eventually(lambda: len(held.events) == 4)
    held.events[3].ack()
    await _exactly(records, app, once_each(names("r", 3)))
    assert (loads, app.observer.total["state conflicts"]) == ([2], 0)


async def test_a_read_that_outlasts_a_rebalance_counts_once(
    transport_app: AppFactory, records: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records whose read began before a rebalance, and ended just before Faust seeks, are counted once."""
    held = Holder()
    app = await transport_app(records.name, redeliver_after_ms=3_600_000, handle=held, noack=True)
    take, gate, has_read = app.consumer.intake.take, asyncio.Event(), asyncio.Event()

    async def slow_take(*args: Any, **kwargs: Any) -> Any:
        if batches := await take(*args, **kwargs):
            has_read.set()
            await gate.wait()
        return batches

    async def let_it_end(*_: Any, **__: Any) -> None:
        gate.set()
        await asyncio.wait([asyncio.ensure_future(_seen(app))], timeout=MUST_NOT_S)

    monkeypatch.setattr(app.consumer.intake, "take", slow_take)
    async with app.consumer._reading:  # a read that may be under way, which is not slow, has ended
        pass
    app.app.on_rebalance_complete.connect(let_it_end)
    await records.publish(names("r", 3))
    await has_read.wait()
    await rebalance(app)
    await eventually(lambda: held.events and not held.events[-1].message.flight.dropped)
    held.events[-1].ack()
    await _exactly(records, app, once_each(names("r", 3)))
    assert (app.counted, app.observer.total["state conflicts"]) == (names("r", 3), 0)


async def test_a_delivery_that_outlasts_a_rebalance_counts_once(transport_app: AppFactory, records: Stream) -> None:
    """Batches in the buffer of their stream, or waiting for room, when a rebalance begins count once, in order."""
    gate = asyncio.Event()

    async def wait(_app: TransportApp, _event: Any) -> None:
        await gate.wait()

    app = await transport_app(records.name, batch_size=1, handle=wait, faust_settings={"stream_buffer_maxsize": 1})
    await records.publish(names("r", 5))
    await eventually(lambda: app.observer.total["delivered"] == 3, message="one at the agent, one before it, one waits")
    change = rebalance(app)
    (partition,) = app.consumer.holdings.values()
    await eventually(lambda: not partition.open)
    gate.set()
    await change
    await _exactly(records, app, once_each(names("r", 5)))
    assert (app.counted, app.observer.total["redelivered"]) == (names("r", 5), 2)
    assert app.observer.total["state conflicts"] == 0


async def _seen(app: TransportApp) -> None:
    await eventually(lambda: app.counted)


async def test_a_batch_that_was_given_up_changes_nothing_any_more(transport_app: AppFactory, records: Stream) -> None:
    """What an agent still does with a batch after its entries were read again is in neither memory nor hash."""
    go_on, late = asyncio.Event(), asyncio.Event()

    async def work(app: TransportApp, event: Any) -> None:
        if len(app.batches) == 1:
            await go_on.wait()
            app.table.update({"late": 1})
            late.set()
        event.ack()

    app = await transport_app(records.name, handle=work, noack=True)
    await records.publish(["r"])
    await eventually(lambda: app.batches)
    await app.consumer.seek_to_committed()
    (partition,) = app.consumer.holdings.values()
    await eventually(lambda: not partition.parted and app.fetching)
    go_on.set()
    await late.wait()
    await _exactly(records, app, {"r": 1})
    assert (app.counted, app.observer.total["state conflicts"]) == (["r", "r"], 0)


async def test_nothing_is_read_again_while_its_commit_is_under_way(transport_app: AppFactory, records: Stream) -> None:
    """Starting over while the commit of a batch is under way does not read its entries again."""
    held = Holder()
    app = await transport_app(records.name, handle=held, noack=True)
    await records.publish(["r"])
    await eventually(lambda: held.events)
    committer, gate, begun = app.consumer.commits._committer, asyncio.Event(), asyncio.Event()
    commit = committer.commit

    async def slow_commit(partition: Any, flight: Any) -> Any:
        begun.set()
        await gate.wait()
        return await commit(partition, flight)

    committer.commit = slow_commit  # type: ignore[method-assign]
    held.events[0].ack()
    await begun.wait()
    reads = app.observer.reads.total()
    await app.consumer.seek_to_committed()
    await eventually(lambda: app.observer.reads.total() > reads)
    gate.set()
    await _exactly(records, app, {"r": 1})
    assert (app.counted, app.observer.total["redelivered"]) == (["r"], 0)


async def test_reading_waits_for_commits(
    transport_app: AppFactory, records: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While commits take long no more is read than may be stored twice after a crash, and each lets reading go on."""
    app = await transport_app(records.name, batch_size=1)
    monkeypatch.setattr(consumer, "_LOOK_S", 60.0)
    committer, gate = app.consumer.commits._committer, asyncio.Event()
    commit = committer.commit

    async def slow_commit(partition: Any, flight: Any) -> Any:
        await gate.wait()
        return await commit(partition, flight)

    monkeypatch.setattr(committer, "commit", slow_commit)
    published = names("r", 10 * MOST_HELD_UP)
    await records.publish(published)
    (partition,) = app.consumer.holdings.values()
    await eventually(partition.ledger.is_held_up)
    await eventually(lambda: len(app.counted) == app.observer.total["delivered"])
    assert len(app.counted) < 2 * MOST_HELD_UP
    gate.set()
    await _exactly(records, app, once_each(published))


async def test_a_conflict_is_counted_and_the_state_loaded_again(
    transport_app: AppFactory, records: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """When what is stored is not what a batch was computed from, it is loaded and the batch computed from that."""
    app = await transport_app(records.name)
    await records.publish(["r"])
    await records.committed(["r"])
    await _store(records, {"r": 40}, b"17 somebody else/3")
    await records.publish(["r"])
    await _exactly(records, app, {"r": 41})
    assert (app.observer.total["state conflicts"], app.counted) == (1, ["r"] * 3)
    assert "is at version b'17 somebody else/3' instead of b'1 " in caplog.text
    assert (await records.version()).startswith(b"18 ")


async def test_an_earlier_releases_state_is_taken_over(transport_app: AppFactory, records: Stream) -> None:
    """A hash without a version is loaded like any other, and has one from the first commit on."""
    await _store(records, {"r": 40})
    app = await transport_app(records.name)
    await records.publish(["r"])
    await _exactly(records, app, {"r": 41})
    assert (await records.version()).startswith(b"1 ")
    assert app.observer.total["state conflicts"] == 0


async def test_a_commit_during_the_load_makes_it_begin_again(
    transport_app: AppFactory, records: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is loaded is one version, not the beginning of one and the end of the next."""
    app = await transport_app(records.name)
    await _store(records, {"r": 1}, b"1 old/0")
    store: Any = app.table.data
    scan, scans = store._scan, []

    async def overtaken(key: str) -> Any:
        scans.append(await scan(key))
        if len(scans) == 1:
            await _store(records, {"r": 2}, b"2 old/1")
        return scans[-1]

    monkeypatch.setattr(store, "_scan", overtaken)
    (partition,) = app.consumer.holdings.values()
    version, values = await store._read(partition, keys.state(records.name, GROUP, TABLE))
    assert (version, values, len(scans)) == (b"2 old/1", {"r": b"\x02"}, 2)


async def test_nothing_is_read_after_the_lease_may_have_ended(transport_app: AppFactory, records: Stream) -> None:
    """A worker that was away for longer than its lease reads nothing before it has heard that it still has it."""
    app = await transport_app(records.name, lease_ttl_ms=60_000)
    (partition,) = app.consumer.holdings.values()
    until_s, partition.leased_until_s = partition.leased_until_s, 0.0
    async with app.consumer._reading:  # a read that may be under way has ended
        pass
    await records.publish(["r"])
    assert await app.consumer._getmany(app.consumer.assignment(), timeout=0.1) == []
    (group,) = await execute(app.consumer.client, "XINFO", "GROUPS", records.name)
    assert facts(group)["last-delivered-id"] == b"0-0"
    partition.leased_until_s = until_s
    await records.committed(["r"])
