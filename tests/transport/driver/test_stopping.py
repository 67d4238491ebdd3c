"""Stopping: soon, whatever the agents and Redis do, and with nothing acknowledged that was not processed."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from faust_redis.redis import keys
from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE, TransportApp, names
from tests.transport.conftest import AppFactory, Stream

#: Much longer than stopping should take, much shorter than what it must not wait for.
GENEROUS_S = 30


async def stop(app: TransportApp) -> None:
    async with asyncio.timeout(GENEROUS_S):
        await app.stop()


async def test_agent_that_hangs_does_not_hold_up_the_stop(transport_app: AppFactory, records: Stream) -> None:
    """An agent that never comes back delays the stop by the drain time only; its batch stays pending."""

    async def hang(_app: TransportApp, _event: Any) -> None:
        await asyncio.Event().wait()

    await records.publish(names("r", 20))
    app = await transport_app(records.name, handle=hang, batch_size=5, drain_timeout_s=0.2)
    await eventually(lambda: app.batches)
    await stop(app)
    assert await records.pending() >= 5
    assert await records.state() == {}


async def test_stop_while_a_delivery_waits(transport_app: AppFactory, records: Stream) -> None:
    """Batches that no agent has begun with when a worker stops are left to the next one, in order."""
    gate = asyncio.Event()

    async def wait(_app: TransportApp, _event: Any) -> None:
        await gate.wait()

    await records.publish(names("r", 5))
    one_fits = {"stream_buffer_maxsize": 1}
    app = await transport_app(records.name, handle=wait, batch_size=1, faust_settings=one_fits)
    await eventually(lambda: app.observer.total["delivered"] == 3, message="one at the agent, one before it, one waits")
    (partition,) = app.consumer.holdings.values()
    stopping = asyncio.create_task(stop(app))
    await eventually(lambda: not partition.open)
    gate.set()
    await stopping
    assert (app.counted, await records.state()) == (["r0"], {"r0": 1})
    successor = await transport_app(records.name)
    await records.committed(names("r", 5))
    assert successor.counted == names("r", 5)[1:]


async def test_stop_while_partitions_are_assigned(
    transport_app: AppFactory, records: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading, which ends with the stop, is not begun anew because partitions are being assigned."""
    caplog.set_level("INFO", "faust")
    app = await transport_app(records.name)
    app.app.rebalancing = True
    await stop(app)
    assert "Restarting on rebalance" not in caplog.text


async def test_stop_during_a_long_block(transport_app: AppFactory, records: Stream) -> None:
    """A read that waits for a minute does not hold up the stop."""
    app = await transport_app(records.name, block_ms=60_000)
    await stop(app)
    assert not await records.redis.exists(records.lease)


@pytest.mark.parametrize(("fault", "partitions"), [("refuse", 1), ("refuse", 3), ("stall", 3)])
async def test_stop_without_redis(
    transport_app: AppFactory, records: Stream, tcp_proxy: ProxyFactory, fault: str, partitions: int
) -> None:
    """With Redis unreachable or silent, and batches waiting to be committed, the stop ends; all stays pending."""
    held: list[Any] = []

    async def hold(_app: TransportApp, event: Any) -> None:
        held.append(event)

    parts = urlsplit(records.redis_url)
    proxy = await tcp_proxy(parts.hostname or "", parts.port or 6379)
    streams = [keys.partition_stream(records.name, number, partitions) for number in range(partitions)]
    for stream in streams:
        await records.publish(names("r", 5), stream=stream)
    url = url_through(proxy, records.redis_url)
    app = await transport_app(records.name, url=url, partitions=partitions, noack=True, handle=hold, drain_timeout_s=1)
    await eventually(lambda: len(held) == partitions)
    if fault == "refuse":
        await proxy.refuse()
        proxy.cut()
    else:
        proxy.stall()
    for event in held:
        event.ack()
    await stop(app)
    assert [await records.pending(stream) for stream in streams] == [5] * partitions


async def test_stop_before_redis_was_ever_there(transport_app: AppFactory, valkey_factory: ValkeyFactory) -> None:
    """A worker that never reached Redis can be stopped; one that reaches it late starts working."""
    server = valkey_factory()
    server.stop()
    app = await transport_app("s", url=server.url, ready=False)
    late = await transport_app("late", url=server.url, ready=False)
    await eventually(lambda: app.observer.retries)
    await stop(app)
    server.start()
    async with Redis.from_url(server.url) as redis:
        records = Stream(redis, server.url, "late")
        await records.publish(published := names("r", 3))
        await records.committed(published)
    assert late.counted == published


async def test_stop_while_a_rebalance_waits(transport_app: AppFactory, records: Stream) -> None:
    """A rebalance that waits for batches in flight does not hold up the stop either."""
    await records.publish(names("r", 5))
    app = await transport_app(records.name, noack=True, drain_timeout_s=2)
    await eventually(lambda: app.batches)
    (partition,) = app.consumer.holdings.values()
    partition.ledger.versions.parted.add(TABLE)
    app.consumer.holdings.changed.set()
    await eventually(lambda: not partition.open)
    await stop(app)
    assert (await records.pending(), await records.state()) == (5, {})
    assert (await records.redis.xinfo_groups(records.name))[0]["name"] == GROUP.encode()
