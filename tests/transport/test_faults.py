"""Redis misbehaves: emptied, cut off, silent, full, trimmed, in the way."""

import asyncio
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from faust_redis.redis import keys
from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.servers.proxy import TcpProxy, url_through
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE, TransportApp, names, once_each
from tests.transport.conftest import AppFactory, Stream

TTL = {"lease_ttl_ms": 1500}


@pytest.fixture
async def own(valkey_factory: ValkeyFactory, stream: str) -> Any:
    """The records on a server of the test's own."""
    server = valkey_factory()
    async with Redis.from_url(server.url) as client:
        yield Stream(client, server.url, stream)


@pytest.fixture
async def proxy(tcp_proxy: ProxyFactory, redis_url: str) -> TcpProxy:
    parts = urlsplit(redis_url)
    assert parts.hostname is not None
    return await tcp_proxy(parts.hostname, parts.port or 6379)


def said(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return any(text in record.getMessage() for record in caplog.records)


async def test_flushall(transport_app: AppFactory, own: Stream, caplog: pytest.LogCaptureFixture) -> None:
    """After FLUSHALL the worker says so, creates the group again, and goes on with new records on an empty state."""
    app = await transport_app(own.name, url=own.redis_url, **TTL)
    await own.publish(old := names("old", 10))
    await own.committed(old)
    await own.redis.flushall()
    await own.publish(new := names("new", 10))
    await own.committed(new)
    await eventually(lambda: app.counts == once_each(new))
    assert said(caplog, f"group of stream {own.name} was gone") or said(caplog, f"the lease of {own.name} is gone")


async def test_flushall_while_idle_is_said(
    transport_app: AppFactory, own: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """When Redis is emptied the log says that the stream's group was gone, and from where it is read again."""
    await transport_app(own.name, url=own.redis_url, lease_ttl_ms=60_000)
    await own.redis.flushall()
    await eventually(lambda: said(caplog, f"the group of stream {own.name} was gone"))
    await own.publish(new := names("new", 3))
    await eventually(lambda: said(caplog, "reading from the beginning"))
    await own.committed(new)


async def test_group_destroyed(transport_app: AppFactory, records: Stream, caplog: pytest.LogCaptureFixture) -> None:
    """After XGROUP DESTROY the group is created again and the stream read from its beginning, which the log says."""
    app = await transport_app(records.name)
    await records.publish(old := names("old", 5))
    await records.committed(old)
    await records.redis.xgroup_destroy(records.name, GROUP)
    await records.publish(new := names("new", 5))
    await eventually(lambda: said(caplog, "reading from the beginning"))
    await lease_ends(app, records)
    await eventually(lambda: app.counted[5:] == [*old, *new])
    await eventually(lambda: app.observer.total["acknowledged"] == 15)


async def lease_ends(app: TransportApp, records: Stream) -> None:
    """Let the lease end that a worker no longer counts on, as it does by itself in the end, and let the worker look."""
    await records.redis.delete(records.lease)
    app.consumer.holdings.changed.set()


@pytest.mark.parametrize(
    "commands",
    [
        [("XGROUP", "DESTROY")],
        [("XGROUP", "DESTROY"), ("XGROUP", "CREATE", "0")],
        [("XGROUP", "SETID", "0")],
    ],
    ids=["removed", "made anew", "set back"],
)
async def test_a_group_is_tampered_with(
    transport_app: AppFactory, records: Stream, caplog: pytest.LogCaptureFixture, commands: list[tuple[str, ...]]
) -> None:
    """Where committed entries leave the stream, those in flight are counted once, though they are read again."""
    gate = asyncio.Event()
    gate.set()

    async def when_told(_app: TransportApp, event: Any) -> None:
        await gate.wait()
        event.value.settle()

    app = await transport_app(records.name, noack=True, handle=when_told, removes_committed=True)
    await records.publish(old := names("old", 5))
    await records.committed(old)
    gate.clear()
    await records.publish(in_flight := names("in flight", 5))
    await eventually(lambda: app.counted == [*old, *in_flight])
    async with records.redis.pipeline(transaction=True) as pipeline:  # before the worker makes a group by itself
        for words in commands:
            pipeline.execute_command(*words[:2], records.name, GROUP, *words[2:])
        await pipeline.execute()
    await records.publish(new := names("new", 5))
    await eventually(lambda: said(caplog, f"the group of stream {records.name} was "))
    await lease_ends(app, records)
    gate.set()
    await records.committed([*old, *in_flight, *new])
    assert await records.redis.xlen(records.name) == 0


async def test_cut_connections(transport_app: AppFactory, records: Stream, proxy: TcpProxy) -> None:
    """However often connections are cut, nothing is lost, nothing counted twice, and nothing waits to become idle."""
    app = await transport_app(records.name, url=url_through(proxy, records.redis_url), batch_size=7)
    published: list[str] = []
    for number in range(15):
        await records.publish(new := names(f"r{number}-", 40))
        published += new
        await asyncio.sleep(0)
        proxy.cut()

    def is_cut_while_it_reads() -> bool:
        proxy.cut()
        return bool(app.observer.reads["error"] and app.observer.retries["read"])

    await eventually(is_cut_while_it_reads)
    await records.committed(published)
    assert app.counts == once_each(published)


async def test_lost_reply_is_found_again(transport_app: AppFactory, own: Stream, tcp_proxy: ProxyFactory) -> None:
    """Entries that Redis delivered into a dead connection are claimed at once, not after `redeliver_after_ms`."""
    proxy = await tcp_proxy("127.0.0.1", urlsplit(own.redis_url).port or 0)
    url = url_through(proxy, own.redis_url)
    app = await transport_app(own.name, url=url, redeliver_after_ms=3_600_000)
    proxy.loses = lambda piece: b"lost0" in piece
    await own.publish(lost := names("lost", 5))
    await own.committed(lost)
    assert proxy.loses is None
    assert app.counted == lost
    assert app.observer.total["redelivered"] == 5


async def test_a_claim_that_fails_loses_no_other(transport_app: AppFactory, records: Stream, proxy: TcpProxy) -> None:
    """What was claimed of one partition when the claim of the next one failed is found again, and counted once."""
    streams = [f"{records.name}:{number}" for number in range(2)]
    for stream in streams:
        await records.publish(names("left", 5), stream=stream)
        await records.redis.xgroup_create(stream, GROUP, id="0")
        await records.redis.xreadgroup(GROUP, "dead", {stream: ">"})
    proxy.loses = lambda data: b"XAUTOCLAIM" in data and streams[1].encode() in data
    app = await transport_app(
        records.name, url=url_through(proxy, records.redis_url), partitions=2, redeliver_after_ms=3_600_000
    )
    await eventually(lambda: app.observer.total["acknowledged"] == 10)
    assert proxy.loses is None
    assert [await records.state(stream) for stream in streams] == [once_each(names("left", 5))] * 2


async def test_refused_connections(transport_app: AppFactory, records: Stream, proxy: TcpProxy) -> None:
    """While Redis cannot be reached the worker retries and says it is not consuming; afterwards it goes on."""
    app = await transport_app(records.name, url=url_through(proxy, records.redis_url), **TTL)
    await records.publish(before := names("a", 10))
    await records.committed(before)
    await proxy.refuse()
    proxy.cut()
    await eventually(app.consumer.why_not_ready)
    assert await app.consumer.redis.why_not_ready()
    # Of any kind: on a busy machine the lease may end meanwhile, and nothing is read without one.
    await eventually(lambda: sum(app.observer.retries.values()) >= 3)
    await records.publish(during := names("b", 10))
    await proxy.accept()
    await records.committed([*before, *during])
    await eventually(_is_none(app))
    assert await app.consumer.redis.why_not_ready() is None
    await eventually(lambda: app.counts == once_each([*before, *during]))


def _is_none(app: TransportApp) -> Any:
    async def consumes() -> bool:
        return await app.consumer.why_not_ready() is None

    return consumes


async def test_silence_in_mid_commit(transport_app: AppFactory, records: Stream, proxy: TcpProxy) -> None:
    """A connection that goes silent while batches are processed costs a timeout: nothing is lost or counted twice."""

    async def stall_once(app: TransportApp, _event: Any) -> None:
        if len(app.batches) == 2:
            proxy.stall()

    await records.publish(published := names("r", 30))
    url = url_through(proxy, records.redis_url)
    app = await transport_app(records.name, url=url, batch_size=5, handle=stall_once, lease_ttl_ms=60_000)
    await eventually(lambda: app.observer.retries["commit"] or app.observer.reads["error"], timeout_s=60)
    proxy.flow()
    await records.committed(published, timeout_s=30)
    assert app.counts == once_each(published)


async def test_killed_clients(transport_app: AppFactory, own: Stream) -> None:
    """CLIENT KILL of every connection, again and again, loses and doubles nothing."""
    app = await transport_app(own.name, url=own.redis_url, batch_size=7)
    published: list[str] = []
    for number in range(10):
        await own.publish(new := names(f"r{number}-", 40))
        published += new
        await own.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await own.committed(published)
    assert app.counts == once_each(published)


async def test_trimmed_pending_entries_are_reported(
    transport_app: AppFactory, records: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """Pending entries that were trimmed away are counted and logged as lost and no longer pending; the rest goes on."""
    ids = await records.publish(names("r", 10))
    await records.redis.xgroup_create(records.name, GROUP, id="0")
    await records.redis.xreadgroup(GROUP, "gone", {records.name: ">"}, count=8)
    await records.redis.xtrim(records.name, maxlen=5, approximate=False)
    app = await transport_app(records.name)
    await records.committed(names("r", 10)[5:])
    assert app.observer.total["trimmed"] == 5
    assert said(caplog, f"5 pending records of stream {records.name}, from {ids[0].decode()} to {ids[4].decode()}, ")


@pytest.mark.parametrize("when", ["before", "during"])
async def test_stream_of_the_wrong_type(
    transport_app: AppFactory, records: Stream, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    """A key of another type in the stream's place is an error in the log and retried; once it is gone work goes on."""
    if when == "before":
        await records.redis.set(records.name, "in the way")
    app = await transport_app(records.name, ready=when == "during", **TTL)
    if when == "during":
        await records.redis.set(records.name, "in the way")
    await eventually(lambda: sum(app.observer.retries.values()) >= 3)
    assert not app.app.crashed
    assert any(r.levelname == "ERROR" and "WRONGTYPE" in r.getMessage() for r in caplog.records)
    await records.redis.delete(records.name)
    await records.publish(published := names("r", 5))
    await records.committed(published)
    assert app.counts == once_each(published)


@pytest.mark.parametrize("key", ["stream", "state", "dead"])
@pytest.mark.parametrize("when", ["before", "during"])
async def test_one_partition_among_others(
    transport_app: AppFactory, records: Stream, caplog: pytest.LogCaptureFixture, key: str, when: str
) -> None:
    """A key of another type beside one partition is named and holds up no other; once it is gone all is as before."""
    streams = [f"{records.name}:{number}" for number in range(2)]
    broken = {
        "stream": streams[1],
        "state": keys.state(streams[1], GROUP, TABLE),
        "dead": keys.dead_letters(streams[1]),
    }[key]
    if when == "before":
        await records.redis.set(broken, "in the way")
    app = await transport_app(records.name, partitions=2, **TTL)
    await records.publish(names("a", 5), stream=streams[0])
    await eventually(lambda: app.observer.total["acknowledged"] == 5)
    if when == "during":
        await records.redis.set(broken, "in the way")
    if key != "stream":
        await records.publish(names("b", 5), stream=streams[1])
    total = app.observer.total
    for number in range(1, 6):
        await records.publish(names(f"c{number}", 5), stream=streams[0])
        await eventually(partial(lambda expected: total["acknowledged"] == expected, 5 + 5 * number))
    await eventually(lambda: any(r.levelname == "ERROR" and broken in r.getMessage() for r in caplog.records))

    async def says() -> bool:
        return broken in (await app.consumer.why_not_ready() or app.consumer.note() or "")

    await eventually(says)
    await records.redis.delete(broken)
    await records.publish(names("d", 5), stream=streams[1])
    await eventually(lambda: app.observer.total["acknowledged"] == 35 + 5 * (key != "stream"))
    assert not app.app.crashed
    await eventually(lambda: app.consumer.note() is None)
    await eventually(_is_none(app))
    await eventually(lambda: app.observer.unreadable == 0)


@pytest.mark.parametrize("key", ["state", "dead"])
async def test_other_keys_of_the_wrong_type(transport_app: AppFactory, records: Stream, key: str) -> None:
    """With the table's hash or the dead letters of another type nothing is acknowledged until that is mended."""
    name = keys.state(records.name, GROUP, TABLE) if key == "state" else keys.dead_letters(records.name)
    app = await transport_app(records.name)
    await records.redis.set(name, "in the way")
    await records.publish(published := names("r", 5))
    await eventually(lambda: app.observer.retries["commit"] >= 2)
    assert await records.pending() == 5
    assert not app.app.crashed
    await records.redis.delete(name)
    await records.committed(published)
