"""What an application waits for before it subscribes: its agents, and no fixed time."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from faust_redis import App
from faust_redis.driver.tables import TableManager
from tests.support.waiting import eventually
from tests.transport.apps import TransportApp


async def test_an_application_does_not_wait_for_a_fixed_time(
    redis: Redis, redis_url: str, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes records although Faust's sleep before the tables would never end."""
    monkeypatch.setattr(TableManager, "sleep", lambda *_: asyncio.Event().wait())
    await redis.xadd(stream, {"name": "a"})
    app = TransportApp(stream, redis_url)
    starting = asyncio.create_task(app.start())
    try:
        await eventually(lambda: app.counts == {"a": 1})
    finally:
        await app.stop()
        starting.cancel()


async def test_an_agent_that_begins_late_is_subscribed_to_with_the_others(redis_url: str, stream: str) -> None:
    """Its topic does not wait for its first event, nor for Faust's next look 45 seconds later."""
    app = TransportApp(stream, redis_url)
    late_topic = app.app.topic(f"{stream}:late", schema=app.topic.schema)

    @app.app.agent(late_topic)
    async def late(events: Any) -> None:
        await asyncio.Event().wait()
        async for _ in events:
            pass

    await app.start()
    try:
        await eventually(lambda: {tp.topic for tp in app.consumer.assignment()} == {stream, f"{stream}:late"})
    finally:
        await app.stop()


async def test_an_application_that_reads_nothing_does_its_other_work(redis: Redis, redis_url: str, stream: str) -> None:
    """One that only sends is assigned nothing, which is all that its tables and timers wait for."""
    app = App("sends", broker=redis_url, web_enabled=False)
    topic = app.topic(stream, partitions=1)
    app.Table("counts", default=int)

    async def send() -> None:
        await topic.send(value="a")

    app.timer(0.05)(send)
    starting = asyncio.create_task(app.start())
    try:
        await eventually(lambda: redis.xlen(stream), message="something was sent")
    finally:
        await app.stop()
        starting.cancel()
