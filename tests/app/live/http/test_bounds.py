"""How many connections a user and an address may have, and that each one is given back however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from ipaddress import ip_network

import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.directus.rights import EIGHT, SEVEN, TOPIC_7, TOPIC_8, Spectator, spectator_of
from tests.app.live.directus.stand_in import DirectusServer, DirectusStandIn
from tests.app.live.harness import LiveFactory, Side, ask, live_side, race_ms
from tests.app.live.rawsocket import NotUpgradedError, RawClient
from tests.app.live.records import live_position
from tests.support.waiting import eventually

CROWD = [f"a device with a long name {number}" for number in range(4000)]
DEVICES = {SEVEN: ["a"], EIGHT: CROWD}
LOCAL = (ip_network("127.0.0.0/8"),)


async def status(side: Side, cookie: str, address: str | None = None) -> int:
    """Connect and stay, as a client of a proxy where there is an address; return how that went."""
    forwarded = {} if address is None else {"X-Forwarded-For": address}
    try:
        await side.connect(headers={"Cookie": cookie, **forwarded})
    except WSServerHandshakeError as refused:
        return refused.status
    return 101


async def test_connections_of_a_user(live: LiveFactory, directus: DirectusServer, spectator: Spectator) -> None:
    """All sessions of a user count together, other users by themselves; one that ends makes room."""
    other = await directus.add_user()
    async with live(devices=DEVICES, limits=LiveLimits(max_connections_per_user=2)) as side:
        first, second = await side.connect(), await directus.login(spectator.user_id)
        assert await status(side, second) == 101
        assert [await status(side, cookie) for cookie in (second, spectator.cookie)] == [429, 429]
        assert await status(side, await directus.login(other)) == 101
        assert side.observed.counts["refused user"] == 2
        await first.close()
        await eventually(lambda: side.observed.gauges["connections"] == 2)
        assert [await status(side, cookie) for cookie in (second, second)] == [101, 429]


async def test_a_crowd_of_one_user(redis_url: str, stream: str, stand_in: DirectusStandIn) -> None:
    """Of many that come at the same time while Directus is slow, so many get in as may."""
    async with (
        spectator_of(stand_in) as spectator,
        live_side(
            redis_url, stream, devices=DEVICES, rights=spectator, limits=LiveLimits(max_connections_per_user=3)
        ) as side,
    ):
        stand_in.gate.clear()
        crowd = asyncio.gather(*(status(side, spectator.cookie) for _ in range(30)))
        await eventually(lambda: stand_in.asked)
        stand_in.gate.set()
        assert sorted(await crowd) == [101] * 3 + [429] * 27


async def test_connections_of_an_address(redis_url: str, stream: str) -> None:
    """Clients of a trusted proxy count by their own addresses, those of IPv6 by their /64."""
    limits = LiveLimits(max_connections_per_address=2)
    async with live_side(redis_url, stream, devices=DEVICES, limits=limits, trusted_proxies=LOCAL) as side:
        addresses = ("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "203.0.113.9, 192.0.2.1")
        assert [await status(side, side.cookie, address) for address in addresses] == [101, 101, 429, 101, 429]
        networks = ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:1::3", "2001:db8:0:2::1")
        assert [await status(side, side.cookie, address) for address in networks] == [101, 101, 429, 101]
        assert side.observed.counts["refused address"] == 3


async def test_a_made_up_address_is_no_way_in(redis_url: str, stream: str) -> None:
    """Without trusted proxies all clients of a peer count together, whatever they say."""
    limits = LiveLimits(max_connections_per_address=2)
    async with live_side(redis_url, stream, devices=DEVICES, limits=limits) as side:
        addresses = ("192.0.2.1", None, "192.0.2.3")
        assert [await status(side, side.cookie, address) for address in addresses] == [101, 101, 429]


async def test_the_public_is_no_user(redis_url: str, stream: str, directus: DirectusServer) -> None:
    """Clients without a session count by their addresses alone."""
    limits = LiveLimits(max_connections_per_user=1, max_connections_per_address=3)
    await directus.allow_public([SEVEN])
    async with (
        spectator_of(directus, allow_public=True) as spectator,
        live_side(redis_url, stream, devices=DEVICES, rights=spectator, limits=limits) as side,
    ):
        for _ in range(3):
            await side.connect(headers={})
        with pytest.raises(WSServerHandshakeError, match="429"):
            await side.connect(headers={})
    await directus.forbid_public()


async def leave_during_authentication(side: Side, stand_in: DirectusStandIn) -> None:
    stand_in.gate.clear()
    leaving = asyncio.ensure_future(side.connect())
    asked = len(stand_in.asked)
    await eventually(lambda: len(stand_in.asked) > asked)
    leaving.cancel()
    await asyncio.wait((leaving,))
    stand_in.gate.set()


async def leave_with_half_an_upgrade(side: Side, _directus: DirectusStandIn) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", side.port)
    head = f"GET /live HTTP/1.1\r\nHost: x\r\nCookie: {side.cookie}\r\n"
    # No key, so that the session is good and the upgrade fails.
    writer.write(head.encode() + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    await writer.drain()
    writer.close()


async def be_no_websocket(side: Side, _directus: DirectusStandIn) -> None:
    async with side.http.get(f"{side.url}/live", headers={"Cookie": side.cookie}) as answer:
        assert answer.status == 426


async def be_refused(side: Side, stand_in: DirectusStandIn) -> None:
    ended = await stand_in.login(await stand_in.add_user())
    await stand_in.logout(ended)
    with pytest.raises(WSServerHandshakeError, match="401"):
        await side.connect(headers={"Cookie": ended})


async def come_in(side: Side) -> RawClient:
    """Connect as soon as whoever left before has given back the place."""
    inside: list[RawClient] = []

    async def is_inside() -> bool:
        with contextlib.suppress(NotUpgradedError):
            inside.append(await RawClient.connect(side.port, side.cookie))
        return bool(inside)

    await eventually(is_inside, message="there is a place again")
    return inside[0]


async def be_slow(side: Side, _directus: DirectusStandIn) -> None:
    client = await come_in(side)
    slow = side.observed.counts["slow"]
    for device in CROWD:
        side.stored.store(live_position(device, race_ms()))
    # Ten times half a megabyte, of which the kernel takes the first few.
    for _ in range(10):
        await client.send_json(type="subscribe", topic=TOPIC_8)
    await eventually(lambda: side.observed.counts["slow"] > slow)
    client.close()


async def break_the_protocol(side: Side, _directus: DirectusStandIn) -> None:
    client = await come_in(side)
    await client.send_raw(b"\xff\xff")
    await client.rest()
    client.close()


async def leave(side: Side, _directus: DirectusStandIn) -> None:
    client = await come_in(side)
    client.close()


@pytest.mark.parametrize(
    "end",
    [
        leave_during_authentication,
        leave_with_half_an_upgrade,
        be_no_websocket,
        be_refused,
        be_slow,
        break_the_protocol,
        leave,
    ],
)
@pytest.mark.parametrize(
    ("bound", "refusal"),
    [("max_connections", 503), ("max_connections_per_user", 429), ("max_connections_per_address", 429)],
)
async def test_every_place_is_given_back(
    redis_url: str,
    stream: str,
    stand_in: DirectusStandIn,
    caplog: pytest.LogCaptureFixture,
    end: object,
    bound: str,
    refusal: int,
) -> None:
    """However connections end, exactly as many fit in afterwards as at the beginning, and none is an error of ours."""
    limits = LiveLimits(**{bound: 2}, slow_client_bytes=100_000, slow_client_s=0.1, close_grace_s=0.2)
    async with (
        spectator_of(stand_in) as spectator,
        live_side(redis_url, stream, devices=DEVICES, rights=spectator, limits=limits) as side,
    ):
        assert callable(end)
        for _ in range(3):
            await end(side, stand_in)
        inside: list[ClientWebSocketResponse] = []

        async def fills_up() -> bool:
            with contextlib.suppress(WSServerHandshakeError):
                inside.append(await side.connect())
            return len(inside) == 2

        await eventually(fills_up, message="two fit in again")
        assert await status(side, spectator.cookie) == refusal
        await asyncio.gather(*(each.close() for each in inside))
        await eventually(lambda: side.observed.gauges["connections"] == 0)
        assert not side.live.registry.connections
        again = await side.connect()
        assert (await ask(again, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("steps", range(8))
async def test_whoever_is_refused_is_counted_once(live: LiveFactory, steps: int) -> None:
    """Also who is cut for want of descriptors in the very step in which the request comes."""
    limits = LiveLimits(max_connections=1, max_descriptors=3)
    async with live(devices=DEVICES, limits=limits) as side, contextlib.AsyncExitStack() as stack:
        inside = await side.connect()
        head = f"GET /live HTTP/1.1\r\nHost: x\r\nCookie: {side.cookie}\r\nUpgrade: websocket\r\n"
        crowd = []
        for _ in range(30):
            # Without a step of the loop between both, so that request and connection come as close as may be.
            crowd.append(stack.enter_context(socket.create_connection(("127.0.0.1", side.port))))
            crowd[-1].sendall(f"{head}Connection: Upgrade\r\n\r\n".encode())
            for _ in range(steps):
                await asyncio.sleep(0)
        refused = [f"refused {reason}" for reason in ("full", "waiting")]
        await eventually(lambda: sum(side.observed.counts[each] for each in refused) >= len(crowd))
        await inside.close()
        assert sum(side.observed.counts[each] for each in refused) == len(crowd)
