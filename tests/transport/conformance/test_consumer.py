"""Faust's contract of a consumer, seen through an application that runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from faust.types import TP

from tests.support.waiting import eventually
from tests.transport.apps import TransportApp, names, once_each
from tests.transport.conftest import AppFactory, Stream

#: Faust's own commit timer, put off so that it cannot be what commits.
NO_TIMER = {"broker_commit_interval": 1000.0}


class Hold:
    """An agent's work that ends when the test says so: events in order of delivery."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def __call__(self, _app: TransportApp, event: Any) -> None:
        self.events.append(event)


@pytest.fixture
def hold() -> Hold:
    return Hold()


@pytest.fixture
def holding(transport_app: AppFactory, records: Stream, hold: Hold) -> Callable[..., Awaitable[TransportApp]]:
    """Start an application that acknowledges nothing by itself, with batches of one record."""

    async def start(**options: Any) -> TransportApp:
        defaults = {"noack": True, "handle": hold, "batch_size": 1, "drain_timeout_s": 0.1, "faust_settings": NO_TIMER}
        return await transport_app(records.name, **{**defaults, **options})

    return start


async def test_subscribing_assigns_every_partition(transport_app: AppFactory, records: Stream) -> None:
    """A worker alone is assigned all partitions of the topics of its agents, and the assignor says the same."""
    app = await transport_app(records.name, partitions=3)
    assigned = {TP(records.name, number) for number in range(3)}
    assert app.consumer.assignment() == assigned
    assert app.app.assignor.assigned_actives() == assigned
    assert app.app.assignor.assigned_standbys() == set()
    assert all(app.app.assignor.is_active(tp) and not app.app.assignor.is_standby(tp) for tp in assigned)
    assert app.consumer.topic_partitions(records.name) == 3


async def test_offsets_are_dense_in_each_partition(
    records: Stream, hold: Hold, holding: Callable[..., Awaitable[TransportApp]]
) -> None:
    """Messages of a partition have the offsets 0, 1, 2 …, its topic and number, and the time of their entry."""
    ids = {number: await records.publish(names("r", 3), stream=f"{records.name}:{number}") for number in range(2)}
    await holding(partitions=2)
    await eventually(lambda: len(hold.events) == 6)
    for number in range(2):
        messages = [event.message for event in hold.events if event.message.partition == number]
        assert [message.offset for message in messages] == [0, 1, 2]
        assert {message.tp for message in messages} == {TP(records.name, number)}
        assert [message.timestamp for message in messages] == [int(i.split(b"-")[0]) / 1000 for i in ids[number]]


async def test_positions_are_told(records: Stream, hold: Hold, holding: Callable[..., Awaitable[TransportApp]]) -> None:
    """Position and high water are the next offset, the earliest offset is the oldest that is not committed."""
    await records.publish(names("r", 3))
    app = await holding()
    await eventually(lambda: len(hold.events) == 3)
    tp, consumer = TP(records.name, 0), app.consumer
    assert (await consumer.position(tp), consumer.highwater(tp), await consumer.highwaters(tp)) == (3, 3, {tp: 3})
    assert await consumer.earliest_offsets(tp) == {tp: 0}
    hold.events[0].ack()
    await eventually(lambda: app.observer.total["acknowledged"] == 1)
    assert await consumer.earliest_offsets(tp) == {tp: 1}
    assert await consumer.position(TP("other", 0)) is None


async def test_commits_follow_the_order_of_delivery(
    records: Stream, hold: Hold, holding: Callable[..., Awaitable[TransportApp]]
) -> None:
    """A batch acknowledged before an older one is committed after it, at once and without Faust's timer."""
    await records.publish(names("r", 3))
    app = await holding()
    await eventually(lambda: len(hold.events) == 3)
    hold.events[2].ack()
    hold.events[1].ack()
    assert not await app.consumer.commit()
    assert await records.pending() == 3
    hold.events[0].ack()
    await records.committed(names("r", 3))


async def test_commit_tells_whether_there_was_something(transport_app: AppFactory, records: Stream) -> None:
    """Committing with nothing settled is no commit."""
    app = await transport_app(records.name, faust_settings=NO_TIMER)
    assert not await app.consumer.commit()
    await records.publish(["r"])
    await eventually(lambda: app.observer.total["acknowledged"] == 1)
    assert not await app.consumer.commit()


async def test_paused_partition_is_not_read(transport_app: AppFactory, records: Stream) -> None:
    """Of a paused partition nothing is delivered until it is resumed; the others go on."""
    app = await transport_app(records.name, partitions=2)
    paused = TP(records.name, 0)
    app.consumer.pause_partitions({paused})
    reads = app.observer.reads["empty"]
    await eventually(lambda: app.observer.reads["empty"] > reads + 1, message="no read of before is under way")
    await records.publish(["p"], stream=f"{records.name}:0")
    await records.publish(["q"], stream=f"{records.name}:1")
    await eventually(lambda: app.counted == ["q"])
    reads = app.observer.reads["empty"]
    await eventually(lambda: app.observer.reads["empty"] > reads + 1)
    assert app.counted == ["q"]
    app.consumer.resume_partitions({paused})
    await eventually(lambda: app.counted == ["q", "p"])


async def test_stopped_flow_delivers_nothing(transport_app: AppFactory, records: Stream) -> None:
    """While the flow is stopped nothing is delivered; when it is resumed everything is, once."""
    app = await transport_app(records.name)
    app.consumer.stop_flow()
    await app.consumer.wait_for_stopped_flow()
    await records.publish(names("r", 5))
    assert app.counted == []
    app.consumer.resume_flow()
    await records.committed(names("r", 5))
    assert app.counted == names("r", 5)


async def test_a_delivery_outlasts_a_stopped_flow(transport_app: AppFactory, records: Stream) -> None:
    """A batch that waits for room in its stream when the flow is stopped is delivered once, before those after it."""
    gate = asyncio.Event()

    async def wait(_app: TransportApp, _event: Any) -> None:
        await gate.wait()

    one_fits = {**NO_TIMER, "stream_buffer_maxsize": 1}
    app = await transport_app(records.name, handle=wait, batch_size=1, faust_settings=one_fits)
    await records.publish(names("r", 5))
    await eventually(lambda: app.observer.total["delivered"] == 3, message="one at the agent, one before it, one waits")
    app.consumer.stop_flow()
    gate.set()
    await eventually(lambda: app.counted == names("r", 3))
    app.consumer.resume_flow()
    await records.committed(names("r", 5))
    assert (app.counted, app.observer.total["redelivered"]) == (names("r", 5), 0)


@pytest.mark.parametrize("how", ["seek", "seek_wait", "seek_to_beginning", "seek_to_committed"])
async def test_seeking_delivers_what_is_pending_again(
    records: Stream, hold: Hold, holding: Callable[..., Awaitable[TransportApp]], how: str
) -> None:
    """Wherever one seeks to, what was not acknowledged comes again, with new offsets; what was does not."""
    await records.publish(names("r", 3))
    app = await holding()
    await eventually(lambda: len(hold.events) == 3)
    hold.events[0].ack()
    await eventually(lambda: app.observer.total["acknowledged"] == 1)
    tp = TP(records.name, 0)
    arguments: dict[str, tuple[Any, ...]] = {
        "seek": (tp, 0), "seek_wait": ({tp: 0},), "seek_to_beginning": (tp,), "seek_to_committed": ()
    }  # fmt: skip
    await getattr(app.consumer, how)(*arguments[how])
    await eventually(lambda: len(hold.events) >= 4)
    again = hold.events[3]
    assert [fields[1] for _, fields in again.value] == [b"r1", b"r2"][: len(again.value)]
    assert again.message.offset == 3
    assert again.value.redelivered


async def test_stop_in_mid_batch_leaves_it_pending(
    records: Stream, transport_app: AppFactory, holding: Callable[..., Awaitable[TransportApp]]
) -> None:
    """What was not acknowledged when a worker stops is still pending, and the next worker gets it."""
    await records.publish(names("r", 20))
    app = await holding(batch_size=5)
    await eventually(lambda: len(app.counted) == 20)
    await app.stop()
    assert (await records.pending(), await records.state()) == (20, {})
    assert not await records.redis.exists(records.lease)
    again = await transport_app(records.name)
    await records.committed(names("r", 20))
    assert again.counted == names("r", 20)


async def test_stop_waits_for_batches_in_flight(
    records: Stream, hold: Hold, holding: Callable[..., Awaitable[TransportApp]]
) -> None:
    """What is acknowledged during the stop is committed; no new batch is begun."""
    await records.publish(names("r", 10))
    app = await holding(batch_size=10, drain_timeout_s=15)
    await eventually(lambda: hold.events)
    stopping = asyncio.create_task(app.stop())
    await eventually(lambda: app.app.should_stop)
    hold.events[0].ack()
    await stopping
    await records.committed(names("r", 10))


async def test_pending_entries_of_others_come_first(transport_app: AppFactory, records: Stream) -> None:
    """A worker takes what a former one had read and not acknowledged, then what is new, in batches."""
    await records.publish(published := names("r", 30))
    await records.redis.xgroup_create(records.name, "group", id="0")
    await records.redis.xreadgroup("group", "gone", {records.name: ">"}, count=20)
    app = await transport_app(records.name, batch_size=10, lag_interval_s=0.1)
    await records.committed(published)
    assert app.counted == published
    assert [batch.redelivered for batch in app.batches] == [True, True, False]
    await eventually(lambda: app.observer.lags[-1:] == [0])


async def test_rebalance_waits_for_the_batch_at_work(
    records: Stream, hold: Hold, transport_app: AppFactory, holding: Callable[..., Awaitable[TransportApp]]
) -> None:
    """A partition is given to a new worker only when its batch has ended; every record is counted once."""
    for number in range(2):
        await records.publish([f"p{number}"], stream=f"{records.name}:{number}")
    first = await holding(partitions=2, drain_timeout_s=30)
    await eventually(lambda: len(hold.events) == 2)
    second = await transport_app(records.name, partitions=2, ready=False)
    await eventually(lambda: [p.open for p in first.consumer.holdings.values()].count(False) == 1)
    assert second.partitions == []
    for event in hold.events:
        event.ack()
    await eventually(lambda: (len(first.partitions), len(second.partitions)) == (1, 1))
    await counted_once(records)
    assert second.counted == []


async def counted_once(records: Stream) -> None:
    """Wait until the one record of each of two partitions was counted once, and none is pending."""
    streams = [f"{records.name}:{number}" for number in range(2)]

    async def stands() -> bool:
        return [await records.pending(stream) for stream in streams] == [0, 0]

    await eventually(stands, message="all is acknowledged")
    assert [await records.state(stream) for stream in streams] == [once_each(["p0"]), once_each(["p1"])]


async def test_a_batch_that_does_not_end_keeps_no_partition_here(
    records: Stream, hold: Hold, transport_app: AppFactory, holding: Callable[..., Awaitable[TransportApp]]
) -> None:
    """After the drain time it is given up: the new worker counts its entries once. What stays is not touched."""
    for number in range(2):
        await records.publish([f"p{number}"], stream=f"{records.name}:{number}")
    first = await holding(partitions=2, drain_timeout_s=0.3)
    await eventually(lambda: len(hold.events) == 2)
    second = await transport_app(records.name, partitions=2, ready=False)
    await eventually(lambda: (len(first.partitions), len(second.partitions)) == (1, 1))
    [given] = second.partitions
    await eventually(lambda: second.counted == [f"p{given}"])
    [kept] = [event for event in hold.events if event.message.partition != given]
    kept.ack()
    await counted_once(records)
    assert len(hold.events) == 2


async def test_what_an_agent_sends_is_there_before_its_batch_is_committed(
    transport_app: AppFactory, records: Stream
) -> None:
    """What was sent with `send_soon` is in Redis when the batch that it came of is acknowledged."""
    out = f"{records.name}:out"
    unsent: list[int] = []

    async def forward(app: TransportApp, event: Any) -> None:
        for _, fields in event.value:
            app.app.topic(out, partitions=1).send_soon(value=fields[1], value_serializer="raw")

    def look(entries: int) -> None:
        app.observer.total["acknowledged"] += entries
        unsent.append(app.app.producer.buffer.size)

    app = await transport_app(records.name, handle=forward)
    app.observer.acknowledged = look  # type: ignore[method-assign]
    await records.publish(names("r", 20))
    await eventually(lambda: app.observer.total["acknowledged"] == 20)
    assert set(unsent) == {0}
    assert await records.redis.xlen(out) == 20


async def test_actors_share_the_batches(transport_app: AppFactory, records: Stream) -> None:
    """With a concurrency of three, three batches are worked on at once, each by one actor."""
    going = asyncio.Event()
    seen: list[str] = []

    async def read(stream: Any) -> None:
        async for event in stream.events():
            seen.extend(fields[1].decode() for _, fields in event.value)
            await going.wait()

    app = await transport_app(
        records.name, batch_size=1, declare=lambda app: app.app.agent(app.topic, concurrency=3)(read)
    )
    await records.publish(names("r", 12))
    await eventually(lambda: len(seen) == 3)
    assert await records.pending() > 0
    going.set()
    await eventually(lambda: app.observer.total["acknowledged"] == 12)
    assert sorted(seen) == sorted(names("r", 12))


async def test_actors_of_partitions_get_their_own(transport_app: AppFactory, records: Stream) -> None:
    """With isolated partitions each partition has an actor that sees its batches only."""
    seen: dict[Any, set[int]] = {}

    async def read(stream: Any) -> None:
        async for event in stream.events():
            seen.setdefault(stream, set()).add(event.message.partition)

    def declare(app: TransportApp) -> None:
        app.app.agent(app.topic, isolated_partitions=True)(read)

    app = await transport_app(records.name, partitions=2, declare=declare)
    for number in range(2):
        await records.publish(names("r", 3), stream=f"{records.name}:{number}")
    await eventually(lambda: app.observer.total["acknowledged"] == 6)
    assert sorted(seen.values(), key=min) == [{0}, {1}]


async def test_agents_of_one_topic_all_get_it(transport_app: AppFactory, records: Stream) -> None:
    """A batch is acknowledged when every agent of its topic is done with it."""
    going = asyncio.Event()
    seen: list[str] = []

    async def also_read(stream: Any) -> None:
        async for event in stream.events():
            seen.extend(fields[1].decode() for _, fields in event.value)
            await going.wait()

    app = await transport_app(
        records.name, declare=lambda app: app.app.agent(app.topic)(also_read), faust_settings=NO_TIMER
    )
    await records.publish(names("r", 4))
    await eventually(lambda: len(app.counted) == 4 and seen)
    assert await records.pending() == 4
    going.set()
    await eventually(lambda: app.observer.total["acknowledged"] == 4)
    assert seen == app.counted == names("r", 4)
