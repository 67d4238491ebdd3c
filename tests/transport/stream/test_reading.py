"""Records come in as batches, in order, and are acknowledged one by one."""

import asyncio

from tests.support.waiting import eventually
from tests.transport.apps import GROUP, names
from tests.transport.conftest import AppFactory, Stream

#: Faust's own commit timer, put off so that it cannot be what commits.
NO_COMMIT_TIMER = {"broker_commit_interval": 1000.0}


async def test_one_event_for_each_read(transport_app: AppFactory, records: Stream) -> None:
    """What was published before the first start comes as whole batches in stream order with ids, all acknowledged."""
    ids = await records.publish(published := names("r", 25))
    app = await transport_app(records.name, batch_size=10, faust_settings=NO_COMMIT_TIMER)
    await records.committed(published)
    assert [len(batch) for batch in app.batches] == [10, 10, 5]
    assert {batch.stream for batch in app.batches} == {records.name}
    assert not any(batch.redelivered for batch in app.batches)
    assert [entry_id for batch in app.batches for entry_id, _ in batch] == ids
    assert [fields for batch in app.batches for _, fields in batch] == [[b"payload", n.encode()] for n in published]
    assert app.offsets == [0, 1, 2]
    await eventually(lambda: app.observer.total == {"delivered": 25, "acknowledged": 25})
    assert (app.observer.reads["ok"], app.observer.owned, app.observer.sizes) == (3, 1, {"counts": 25})
    await eventually(lambda: app.observer.reads["empty"] > 0)


async def test_second_start_goes_on(transport_app: AppFactory, records: Stream) -> None:
    """A group that exists is success: a second start reads only what was not acknowledged, on the stored state."""
    await records.publish(first := names("a", 5))
    app = await transport_app(records.name)
    await records.committed(first)
    await app.stop()
    await records.publish(second := names("b", 5))
    again = await transport_app(records.name)
    assert again.counted in ([], second)
    await records.committed([*first, *second])
    assert again.counted == second
    assert again.counts == dict.fromkeys([*first, *second], 1)


async def test_instances_of_the_past_are_forgotten(transport_app: AppFactory, records: Stream) -> None:
    """Group members that are gone and hold nothing are removed; live ones and those with pending entries stay."""
    await records.publish(names("r", 2))
    await records.redis.xgroup_create(records.name, GROUP, id="0")
    await records.redis.xgroup_createconsumer(records.name, GROUP, "idle")
    await transport_app(records.name, instance_id="live", redeliver_after_ms=2000)

    async def only_live() -> bool:
        members = await records.redis.xinfo_consumers(records.name, GROUP)
        return {member["name"] for member in members} == {b"live"}

    await eventually(only_live)


async def test_lag_is_what_was_not_read(transport_app: AppFactory, records: Stream) -> None:
    """The lag reported is the number of entries that the group has not read, summed over the partitions held."""
    hold = asyncio.Event()

    async def wait(*_: object) -> None:
        await hold.wait()

    for number in range(2):
        await records.publish(names(f"p{number}-", 50), stream=f"{records.name}:{number}")
    app = await transport_app(records.name, partitions=2, batch_size=1, handle=wait, lag_interval_s=0.1)
    await eventually(lambda: app.observer.lags and 0 < (app.observer.lags[-1] or 0) < 100)
    hold.set()
    await eventually(lambda: app.observer.lags[-1] == 0)


async def test_a_full_agent_stops_the_reading(transport_app: AppFactory, records: Stream) -> None:
    """While an agent is busy only a few batches are taken from the stream; when it goes on, so does the reading."""
    hold = asyncio.Event()

    async def wait(*_: object) -> None:
        await hold.wait()

    await records.publish(published := names("r", 100))
    app = await transport_app(records.name, batch_size=1, handle=wait, lag_interval_s=0.1)
    await eventually(lambda: app.batches)
    app.observer.lags.clear()
    await eventually(lambda: len(app.observer.lags) > 3 and app.observer.lags[-1] == app.observer.lags[-3])
    assert app.observer.total["delivered"] < 10
    hold.set()
    await records.committed(published)
