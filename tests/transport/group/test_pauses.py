"""A partition most of whose records are refused is not read any more, until somebody says so."""

from typing import Any

import pytest
from redis.asyncio import Redis

from faust_redis.group.pauses import resume
from faust_redis.redis.client import close, connect
from faust_redis.redis.keys import pause
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TransportApp, names
from tests.transport.conftest import AppFactory, Stream

#: Refused entries would be dead letters at once.
AT_ONCE = {"dead_letter_after": 1, "redeliver_after_ms": 400, "batch_size": 100}
#: They would be none, since no machine is so busy that they come so often before there are too many.
SELDOM = {"dead_letter_after": 5, "redeliver_after_ms": 3000}


class Refusing:
    """Refuses what is called bad, until it is mended."""

    def __init__(self) -> None:
        self.is_mended = False

    async def __call__(self, _app: TransportApp, event: Any) -> None:
        for entry_id, fields in event.value:
            if fields[1].startswith(b"bad") and not self.is_mended:
                event.value.refuse(entry_id, "decode", "is bad")


class OneByOne(Refusing):
    """Begins with a batch when all before it are committed, so that few are read ahead, however slow commits are."""

    async def __call__(self, app: TransportApp, event: Any) -> None:
        ledger = app.consumer.holdings[event.message.tp].ledger
        await eventually(lambda: ledger.committed == event.message.offset)
        await super().__call__(app, event)


async def resumed(url: str, *streams: str) -> list[str]:
    client = connect(url)
    try:
        return await resume(client, streams, GROUP)
    finally:
        await close(client)


async def is_quiet(app: TransportApp) -> None:
    """Wait until the read has ended that was under way, and several looks at the stream found that nothing came."""

    async def rests() -> bool:
        async with app.consumer._reading:
            before = app.observer.total["delivered"]
        app.observer.ages.clear()
        await eventually(lambda: len(app.observer.ages) > 8)
        return app.observer.total["delivered"] == before

    await eventually(rests, message="nothing more is read")


async def test_a_partition_of_refused_records_is_paused(
    transport_app: AppFactory, records: Stream, redis: Redis, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading stops after half a thousand refused ones, others go on, and all of it is processed once it is mended."""
    streams = [f"{records.name}:{number}" for number in range(2)]
    bad = [*names("good", 300), *names("bad", 3000)]
    await records.publish(bad, stream=streams[0])
    refusing = OneByOne()
    app = await transport_app(records.name, partitions=2, handle=refusing, lag_interval_s=0.1, **{**AT_ONCE, **SELDOM})
    await eventually(lambda: app.observer.paused == 1)
    await is_quiet(app)
    assert app.observer.total["delivered"] - app.observer.total["redelivered"] < 1500
    assert app.observer.dead == {}
    reason = await app.consumer.why_not_ready()
    assert reason is not None
    assert reason.startswith(f"reading of {streams[0]} is paused: ")
    assert any(f"reading of {streams[0]} is paused" in record.getMessage() for record in caplog.records)
    await records.publish(good := names("fine", 50), stream=streams[1])
    await eventually(lambda: set(good) <= set(app.counted))
    await eventually(lambda: redis.exists(pause(streams[0], GROUP)))
    refusing.is_mended = True
    assert await resumed(redis_url, *streams) == [streams[0]]
    await eventually(lambda: app.observer.total["acknowledged"] == len(bad) + len(good), timeout_s=30)
    await eventually(lambda: app.observer.paused == 0)
    assert await app.consumer.why_not_ready() is None
    assert app.observer.dead == {}


async def test_dead_letters_stop_with_the_reading(transport_app: AppFactory, records: Stream) -> None:
    """What is in flight when a partition is paused stays pending, though it was delivered often enough."""
    await records.publish(names("bad", 2000))
    app = await transport_app(records.name, handle=Refusing(), lag_interval_s=0.1, **AT_ONCE)
    await eventually(lambda: app.observer.paused == 1)
    await is_quiet(app)
    assert app.observer.dead == {"decode": 500}
    assert await records.pending() == app.observer.total["delivered"] - 500


async def test_a_restart_goes_on(transport_app: AppFactory, records: Stream) -> None:
    """A worker that starts anew reads what is pending and what waits."""
    await records.publish(published := names("bad", 1500))
    options = {**AT_ONCE, **SELDOM}
    app = await transport_app(records.name, handle=Refusing(), **options)
    await eventually(lambda: app.observer.paused == 1)
    await app.stop()
    again = await transport_app(records.name, **options)
    await eventually(lambda: set(again.counted) == set(published))
    assert again.observer.paused == 0


@pytest.mark.parametrize(("bad", "share"), [(500, 0.5), (1500, 1.0)])
async def test_what_is_not_too_much(transport_app: AppFactory, records: Stream, bad: int, share: float) -> None:
    """Up to the share nothing is paused, and with 1 never; records that are delivered again are not counted again."""
    await records.publish(names("bad", bad))
    options = {**AT_ONCE, "dead_letter_after": 3, "dead_letter_max_share": share}
    app = await transport_app(records.name, handle=Refusing(), **options)
    await eventually(lambda: app.observer.dead == {"decode": bad}, timeout_s=30)
    assert app.observer.paused == 0


async def test_bad_records_between_good_ones(transport_app: AppFactory, records: Stream) -> None:
    """Only the last thousand count: many refused ones among more that are not are no reason to pause."""
    await records.publish(name for number in range(1200) for name in (f"bad{number}", f"good{number}", f"fine{number}"))
    app = await transport_app(records.name, handle=Refusing(), **AT_ONCE)
    await eventually(lambda: app.observer.dead == {"decode": 1200})
    await eventually(lambda: app.observer.total["acknowledged"] == 2400)
    assert app.observer.paused == 0
