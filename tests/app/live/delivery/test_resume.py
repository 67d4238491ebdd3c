"""Going on with a cursor, on this worker or another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from redis.asyncio import Redis

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.wire import cursor
from tests.app.live.directus.rights import SEVEN, TOPIC_7
from tests.app.live.harness import LiveFactory, Side, Stored, ask, publish, race_ms, receive
from tests.app.live.records import live_position
from tests.conftest import ProxyFactory

DEVICES = {SEVEN: ["a", "b", "c"]}


async def read(socket: ClientWebSocketResponse, count: int) -> list[tuple[str, int]]:
    frames = [await receive(socket) for _ in range(count)]
    return [(frame["deviceId"], frame["ts"]) for frame in frames]


async def nothing_more(side: Side, socket: ClientWebSocketResponse) -> None:
    """Make sure that what comes next is what is published next."""
    ts = race_ms() + 60_000
    await side.publish("c", ts)
    assert await read(socket, 1) == [("c", ts)]


async def resume(socket: ClientWebSocketResponse, since: Any) -> dict[str, Any]:
    return await ask(socket, type="subscribe", topic=TOPIC_7, since=since)


def count_pages(side: Side) -> Callable[[], int]:
    """Return what tells how many pages of a stream are read again from now on."""
    count = 0
    page = side.live._resumer._replay.page

    async def counted(*args: Any) -> Any:
        nonlocal count
        count += 1
        return await page(*args)

    side.live._resumer._replay.page = counted  # type: ignore[method-assign, assignment]  # counted on the way
    return lambda: count


@pytest.mark.parametrize("partitions", [1, 3])
async def test_what_was_missed_follows(live: LiveFactory, partitions: int) -> None:
    """A client that comes back is given the newest position of each device that moved, and goes on live."""
    async with live(devices=DEVICES, partitions=partitions) as side:
        ts = race_ms()
        socket = await side.connect()
        await ask(socket, type="subscribe", topic=TOPIC_7)
        await side.publish("a", ts)
        since = (await receive(socket))["cursor"]
        await socket.close()
        for second in (1, 2, 3):
            await side.publish("b", ts + 1000 * second)
        await side.publish("b", ts)
        await side.idle()
        socket = await side.connect()
        answer = await resume(socket, since)
        assert (answer["resumed"], answer["snapshot"]) == (True, [])
        assert await read(socket, 1) == [("b", ts + 3000)]
        await nothing_more(side, socket)
        assert side.stored.reads == 1 + 1  # the first snapshot, and how far devices are that nobody has seen


@pytest.mark.parametrize("partitions", [1, 3])
async def test_another_worker_goes_on(live: LiveFactory, redis_url: str, stream: str, partitions: int) -> None:
    """A cursor of one worker is good at another that began later; what passed in between is read from the stream."""
    ts = race_ms()
    async with live(devices=DEVICES, partitions=partitions) as side:
        socket = await side.connect()
        await ask(socket, type="subscribe", topic=TOPIC_7)
        await side.publish("a", ts)
        await side.publish("b", ts)
        since = [await receive(socket) for _ in range(2)][1]["cursor"]
        await socket.close()
    # Nobody is there.
    for device, ts_ms in (("a", ts + 1000), ("nobody's", ts), ("a", ts + 500), ("b", ts - 5000)):
        await publish_alone(redis_url, stream, device, ts_ms, partitions)
    stored = Stored()
    stored.store(live_position("b", ts))
    async with live(devices=DEVICES, partitions=partitions, instance_id="two", stored=stored) as side:
        socket = await side.connect()
        assert (await resume(socket, since))["resumed"] is True
        assert await read(socket, 1) == [("a", ts + 1000)]
        await side.publish("b", ts - 1000)
        await nothing_more(side, socket)


async def publish_alone(redis_url: str, stream: str, device: str, ts_ms: int, partitions: int) -> None:
    async with Redis.from_url(redis_url) as redis:
        await publish(redis, stream, device, ts_ms, partitions=partitions)


async def test_a_worker_that_is_behind_repeats_nothing(live: LiveFactory) -> None:
    """A client that comes from a worker that had read farther is not sent again what it has."""
    ts = race_ms()
    async with live(devices=DEVICES) as ahead, live(devices=DEVICES, instance_id="two") as behind:
        socket = await ahead.connect()
        await ask(socket, type="subscribe", topic=TOPIC_7)
        go_on = behind.hold_back()
        await ahead.publish("a", ts)
        since = (await receive(socket))["cursor"]
        other = await behind.connect()
        assert (await resume(other, since))["resumed"] is True
        assert behind.live.requests.fan_out.vector < ahead.live.requests.fan_out.vector
        go_on.set()
        await nothing_more(behind, other)


async def test_the_database_is_ahead_of_this_worker(live: LiveFactory) -> None:
    """What is stored already and has yet to pass this worker is what the client missed: it is shown, once."""
    ts = race_ms()
    async with live(devices=DEVICES) as side:
        await side.publish("b", ts)
        await side.idle()
        since = cursor.of(side.live.requests.fan_out.vector)
        go_on = side.hold_back()
        await side.publish("a", ts)
        side.stored.store(live_position("a", ts))
        socket = await side.connect()
        assert (await resume(socket, since))["resumed"] is True
        go_on.set()
        assert await read(socket, 1) == [("a", ts)]
        await nothing_more(side, socket)


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_late_upload_moves_nothing_back(
    live: LiveFactory, redis_url: str, stream: str, partitions: int
) -> None:
    """Late uploads, from before this worker began or since, are not what a client missed: the database knows newer."""
    ts = race_ms()
    async with live(devices=DEVICES, partitions=partitions) as side:
        since = cursor.of(side.live.requests.fan_out.vector)
    stored = Stored()
    for device in ("a", "b"):
        stored.store(live_position(device, ts))
    await publish_alone(redis_url, stream, "a", ts - 20_000, partitions)
    async with live(devices=DEVICES, partitions=partitions, instance_id="two", stored=stored) as side:
        await side.publish("b", ts - 20_000)
        await side.idle()
        socket = await side.connect()
        assert (await resume(socket, since))["resumed"] is True
        await side.publish("a", ts - 10_000)
        await nothing_more(side, socket)


async def test_a_trimmed_cursor(live: LiveFactory, redis_url: str, stream: str) -> None:
    """When entries after the cursor are gone from the stream, the client is given a snapshot."""
    ts = race_ms()
    for second in range(5):
        await publish_alone(redis_url, stream, "a", ts + second, 1)
    async with live(devices=DEVICES) as side:
        entries: Any = await side.redis.xrange(stream, count=1)
        first = entries[0][0].decode()
        await side.redis.xtrim(stream, maxlen=2, approximate=False)
        side.stored.store(live_position("a", ts + 4))
        socket = await side.connect()
        answer = await resume(socket, first)
        assert ("resumed" in answer, [p["ts"] for p in answer["snapshot"]]) == (False, [ts + 4])


@pytest.mark.parametrize("since", ["", "x", "99999999999999-0", "0.1-1~AAAA", "1-1-1", "9" * 250, "٣-1"])
async def test_an_unknown_cursor(live: LiveFactory, since: str) -> None:
    """Any text that is no cursor of this deployment is answered with a snapshot."""
    async with live(devices=DEVICES) as side:
        side.stored.store(live_position("a", 1_700_000_000_000))
        await side.publish("b", race_ms())
        answer = await resume(await side.connect(), since)
        assert ("resumed" in answer, len(answer["snapshot"])) == (False, 1)


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        pytest.param("_max_entries", 20, id="entries"),
        pytest.param("_max_bytes", 5000, id="bytes"),
    ],
)
async def test_a_cursor_too_far_back(
    live: LiveFactory, redis_url: str, stream: str, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    """More entries than it is worth, or more bytes, are not read again: the client is given a snapshot."""
    for second in range(30):
        await publish_alone(redis_url, stream, "a", race_ms() + second, 1)
    async with live(devices=DEVICES) as side:
        monkeypatch.setattr(side.live._resumer, limit, most)
        monkeypatch.setattr(side.live._resumer, "_begins", side.live.requests.fan_out.vector)
        pages = count_pages(side)
        answer = await resume(await side.connect(), "0-0")
        assert "resumed" not in answer
        assert (read_once := pages()) > 0
        # Nobody has to read them again to learn the same.
        answer = await resume(await side.connect(), "0-0")
        assert "resumed" not in answer
        assert pages() == read_once


async def test_the_cursor_of_a_snapshot(live: LiveFactory) -> None:
    """Resuming from the answer to a subscribe gives what followed it, even what was sent right behind."""
    async with live(devices=DEVICES) as side:
        ts = race_ms()
        await side.publish("a", ts)
        await side.publish("b", ts)
        await side.idle()
        socket = await side.connect()
        answer = await ask(socket, type="subscribe", topic=TOPIC_7)
        assert await read(socket, 2) == [("a", ts), ("b", ts)]
        again = await side.connect()
        assert (await resume(again, answer["cursor"]))["resumed"] is True
        assert await read(again, 2) == [("a", ts), ("b", ts)]


async def test_a_crowd_comes_back(live: LiveFactory, redis_url: str, stream: str) -> None:
    """Many clients that move to a fresh worker at once are served by one reading of the stream."""
    ts = race_ms()
    async with live(devices=DEVICES) as side:
        await side.publish("a", ts)
        await side.idle()
        since = cursor.of(side.live.requests.fan_out.vector)
    for second in range(1, 50):
        await publish_alone(redis_url, stream, "a", ts + second, 1)
    limits = LiveLimits(max_connections_per_user=300)
    async with live(devices=DEVICES, instance_id="two", limits=limits) as side:
        pages = count_pages(side)
        sockets = [await side.connect() for _ in range(300)]
        answers = await asyncio.gather(*(resume(socket, since) for socket in sockets))
        assert all(answer["resumed"] for answer in answers)
        assert [await read(socket, 1) for socket in sockets] == [[("a", ts + 49)]] * 300
        assert pages() <= 2


async def test_redis_is_down(live: LiveFactory, redis_url: str, stream: str, tcp_proxy: ProxyFactory) -> None:
    """While Redis cannot be asked a client with a cursor is given a snapshot, not kept waiting."""
    host, port = redis_url.removeprefix("redis://").split("/")[0].split(":")
    proxy = await tcp_proxy(host, int(port))
    async with live(url=f"redis://{host}:{proxy.port}/0", devices=DEVICES) as side:
        await side.redis.xadd(stream, {"x": "y"})
        await side.idle()
        await proxy.refuse()
        proxy.cut()
        answer = await resume(await side.connect(), "1-1")
        assert "resumed" not in answer
        assert side.observed.retries == ["resume"]
        await proxy.accept()
