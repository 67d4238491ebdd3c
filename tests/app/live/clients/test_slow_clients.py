"""Clients whose sockets stand still, beside fast ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.directus.rights import EIGHT, SEVEN, TOPIC_7, TOPIC_8
from tests.app.live.harness import LiveFactory, Side, Stored, ask, publish, race_ms, receive
from tests.app.live.rawsocket import RawClient
from tests.app.live.records import live_position
from tests.app.live.sightings import positions_of
from tests.support.waiting import eventually

DEVICES = [f"device-{number}" for number in range(50)]
#: Some rounds of the flood fit, read together.
LIMIT = 50_000


@pytest.fixture
async def side(live: LiveFactory) -> AsyncIterator[Side]:
    limits = LiveLimits(slow_client_bytes=LIMIT, gather_s=0, slow_client_s=60)
    async with live(devices={SEVEN: DEVICES, EIGHT: DEVICES[:10]}, limits=limits) as side:
        yield side


async def stalled_client(side: Side, *topics: str, batch: bool = False) -> RawClient:
    client = await RawClient.connect(side.port, side.cookie)
    for topic in topics:
        await client.send_json(type="subscribe", topic=topic, batch=batch)
        assert (await client.json())["type"] == "subscribed"
    return client


def missed_by_the_slow(side: Side) -> list[tuple[int, bytes, int]]:
    """Return in which pieces the one client that is behind is to be given what it missed."""
    (connection,) = side.live.registry.slow
    assert connection.conflated_since_seq is not None
    return list(side.live.requests.fan_out.missed(connection, connection.conflated_since_seq))


class Flood:
    """Publishes rounds of positions of all devices; remembers the newest."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.ts_ms = race_ms()
        self.rounds = 0

    async def round(self) -> None:
        self.ts_ms += 1000
        self.rounds += 1
        side = self.side
        await asyncio.gather(*(publish(side.redis, side.stream, device, self.ts_ms) for device in DEVICES))
        assert all(connection.unsent_bytes <= LIMIT for connection in side.live.registry.connections)

    async def until_behind(self, clients: int) -> None:
        """Publish until so many clients are behind, or were and are closed: the kernel takes some megabytes first."""
        async with asyncio.timeout(60):
            while len(self.side.live.registry.slow) + self.side.observed.counts["slow"] < clients:
                await self.round()
        for _ in range(20):
            await self.round()
        await self.side.idle()


@pytest.mark.parametrize("batch", [False, True])
async def test_a_stalled_client_is_conflated(side: Side, *, batch: bool) -> None:
    """It costs no more than the limit; when it reads again it is given the newest of each device, in order."""
    client = await stalled_client(side, TOPIC_7, TOPIC_8, batch=batch)
    flood = Flood(side)
    await flood.until_behind(1)
    for _ in range(30):
        await flood.round()
    await side.idle()
    if batch:
        pieces = missed_by_the_slow(side)
        assert sum(positions for _, _, positions in pieces) == len(DEVICES) + 10
        assert len(pieces) < 10
        assert all(len(frames) < LIMIT / 2 for _, frames, _ in pieces)
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    wanted = [(TOPIC_7, device) for device in DEVICES] + [(TOPIC_8, device) for device in DEVICES[:10]]
    while any(not seen[key] or seen[key][-1] < flood.ts_ms for key in wanted):
        frame = await client.json()
        for position in positions_of(frame):
            seen[frame["topic"], position["deviceId"]].append(position["ts"])
    assert all(times == sorted(set(times)) for times in seen.values())
    received = sum(len(times) for times in seen.values())
    await eventually(lambda: not side.live.registry.slow, message="the client keeps up again")
    assert side.observed.counts["sent"] == received
    assert side.observed.counts["conflated"] == flood.rounds * len(wanted) - received > 0
    await flood.round()
    last: dict[tuple[str, str], int] = {}
    while len(last) < len(wanted):
        frame = await client.json()
        last |= {(frame["topic"], position["deviceId"]): position["ts"] for position in positions_of(frame)}
    assert last == dict.fromkeys(wanted, flood.ts_ms)
    client.close()


async def test_a_fast_client_sees_everything_beside_stalled_ones(side: Side) -> None:
    """Every position reaches a client that reads, while others stand still."""
    stalled = [await stalled_client(side, TOPIC_7) for _ in range(5)]
    fast = await side.connect()
    await ask(fast, type="subscribe", topic=TOPIC_7)
    seen: dict[str, list[int]] = defaultdict(list)

    async def read() -> None:
        while True:
            frame = await receive(fast, 30)
            seen[frame["deviceId"]].append(frame["ts"])

    reading = asyncio.create_task(read())
    flood = Flood(side)
    first = flood.ts_ms + 1000
    await flood.until_behind(5)
    everything = list(range(first, flood.ts_ms + 1000, 1000))
    await eventually(lambda: all(seen[device] == everything for device in DEVICES), message="it has seen everything")
    assert len(side.live.registry.slow) == 5
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    for client in stalled:
        client.close()


async def test_a_client_that_stays_behind_is_closed(live: LiveFactory) -> None:
    """After the time it has, it is closed with 4408, counted, and gone from the registry."""
    limits = LiveLimits(slow_client_bytes=LIMIT, gather_s=0, slow_client_s=0.3, close_grace_s=60)
    async with live(devices={SEVEN: DEVICES}, limits=limits) as side:
        client = await stalled_client(side, TOPIC_7)
        fast = await side.connect()
        flood = Flood(side)
        await flood.until_behind(1)
        await eventually(lambda: side.observed.counts["slow"] == 1)
        _, code = await client.rest()
        assert code == 4408
        await eventually(lambda: side.observed.gauges["connections"] == 1)
        assert (await ask(fast, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
        client.close()


async def test_a_client_that_reads_behind_the_others_is_alive(side: Side) -> None:
    """It has bytes waiting whenever it would be pinged: that it reads is the sign of life."""
    client = await stalled_client(side, TOPIC_7)
    await Flood(side).until_behind(1)
    (connection,) = side.live.registry.slow
    heard_at = connection.heard_at
    while connection in side.live.registry.slow:
        await client.json()
    assert connection.heard_at > heard_at
    client.close()


async def test_a_ping_that_would_wait_stays_due(side: Side) -> None:
    """A client with bytes waiting at the wrong moment is pinged when it has taken them, not an interval later."""
    client = await stalled_client(side)
    (connection,) = side.live.registry.connections
    answers = 0
    while not connection.unsent_bytes:
        connection.send(b'{"filler":"%b"}' % (b"x" * 4000))
        answers += 1
    active_at = connection.active_at
    connection.ping()
    assert connection.active_at == active_at
    for _ in range(answers):
        assert list(await client.json()) == ["filler"]
    await eventually(lambda: not connection.unsent_bytes, message="it has taken everything")
    connection.ping()
    assert connection.active_at > active_at
    assert await client.frame() == (9, b"")
    client.close()


async def test_a_client_that_never_reads_again_is_dropped(live: LiveFactory) -> None:
    """A closed client that does not even read why is gone after the grace."""
    limits = LiveLimits(slow_client_bytes=LIMIT, gather_s=0, slow_client_s=0.1, close_grace_s=0.2)
    async with live(devices={SEVEN: DEVICES}, limits=limits) as side:
        client = await stalled_client(side, TOPIC_7)
        await Flood(side).until_behind(1)
        await eventually(lambda: side.observed.gauges == {"connections": 0, "subscriptions": 0})
        client.close()


@pytest.mark.parametrize("kind", ["requests", "pings"])
async def test_a_client_that_asks_but_does_not_read(live: LiveFactory, kind: str) -> None:
    """Answers never pile up: requests and pings wait while earlier answers are unread, and for so long only."""
    limits = LiveLimits(
        slow_client_bytes=LIMIT, gather_s=0, slow_client_s=1.5, close_grace_s=0.2, frames_burst=1_000_000
    )
    async with live(devices={SEVEN: DEVICES}, limits=limits) as side:
        client = await RawClient.connect(side.port, side.cookie)
        ping = bytes([0x89, 0x80 | 120]) + bytes(4) + b"x" * 120
        sent = 0
        # Until it is closed, or cut in the middle of sending.
        with contextlib.suppress(ConnectionError):
            # Far more than the kernel takes: of small frames that is a hundred thousand.
            while sent < 500_000 and not side.observed.counts["slow"]:
                async with asyncio.timeout(30):
                    if kind == "pings":
                        await client.send_raw(ping)
                    else:
                        await client.send_json(type="nothing", id="x" * 200)
                sent += 1
                unsent = max((c.unsent_bytes for c in side.live.registry.connections), default=0)
                assert unsent <= LIMIT
        assert 100 < sent < 500_000
        assert side.observed.counts["slow"] == 1
        client.close()


async def test_falling_behind_between_two_topics(live: LiveFactory) -> None:
    """A client that falls behind in the middle of a batch is not given again what it got of that batch."""
    devices = {SEVEN: ["only"], EIGHT: DEVICES}
    async with live(devices=devices, limits=LiveLimits(slow_client_bytes=2000, gather_s=0)) as side:
        client = await stalled_client(side, TOPIC_7, TOPIC_8)
        await eventually(lambda: not any(subscription.owed for subscription in side.live.registry))
        ts_ms = race_ms()
        # In one batch: the frame of the first topic fits, those of the second are more than the client may cost.
        async with side.redis.pipeline(transaction=True) as together:
            for device in ["only", *DEVICES]:
                await publish(together, side.stream, device, ts_ms)
            await together.execute()
        frames = [await client.json() for _ in range(1 + len(DEVICES))]
        assert [frame["deviceId"] for frame in frames] == ["only", *DEVICES]
        await side.publish("only", ts_ms + 1)
        assert (await client.json())["ts"] == ts_ms + 1
        client.close()


async def test_snapshots_do_not_pile_up(live: LiveFactory) -> None:
    """Snapshots asked for and not read cost no more than the limit, and every one comes when the client reads."""
    limit, ts_ms = 200_000, race_ms()
    devices = [f"device-{number}" for number in range(500)]
    stored = Stored()
    for device in devices:
        stored.store(live_position(device, ts_ms))
    limits = LiveLimits(slow_client_bytes=limit, gather_s=0, slow_client_s=60, frames_burst=1_000_000)
    async with live(devices={SEVEN: devices}, limits=limits, stored=stored) as side:
        client = await RawClient.connect(side.port, side.cookie)
        # Far more than the kernel takes.
        asked = 300
        for _ in range(asked):
            await client.send_json(type="subscribe", topic=TOPIC_7)
        (connection,) = side.live.registry.connections
        most = 0
        while stored.reads < asked and connection.may_write(limit // 2):
            await asyncio.sleep(0)
            most = max(most, connection.unsent_bytes)
        for _ in range(20):
            await asyncio.sleep(0.01)
            most = max(most, connection.unsent_bytes)
        assert stored.reads < asked
        assert limit // 2 < most <= limit
        for _ in range(asked):
            answer = await client.json()
            assert [answer["type"], len(answer["snapshot"])] == ["subscribed", len(devices)]
        client.close()
