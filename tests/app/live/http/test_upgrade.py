"""Who may connect: every refusal before the upgrade, sessions as Directus knows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.directus import faults
from tests.app.live.directus.rights import SEVEN, TOPIC_7, Spectator, spectator_of
from tests.app.live.directus.stand_in import COOKIE, DirectusServer, DirectusStandIn, Fault
from tests.app.live.harness import LiveFactory, Side, ask, live_side, race_ms, receive
from tests.support.servers.proxy import TcpProxy
from tests.support.waiting import eventually

DEVICES = {SEVEN: ["a"]}


@pytest.fixture
async def side(live: LiveFactory) -> AsyncIterator[Side]:
    async with live(devices=DEVICES) as side:
        yield side


async def refused(side: Side, **options: Any) -> tuple[int, str | None]:
    """Return the status with which a client is refused, and Retry-After."""
    with pytest.raises(WSServerHandshakeError) as caught:
        await side.connect(**options)
    headers = caught.value.headers
    return caught.value.status, None if headers is None else headers.get("Retry-After")


async def test_no_session(side: Side, directus: DirectusServer, spectator: Spectator) -> None:
    """Without a session, with one that is none, is over, or is a suspended user's, it is 401; nobody is counted."""
    ended = await directus.login(spectator.user_id)
    await directus.logout(ended)
    signed, _, signature = spectator.cookie.rpartition(".")
    cookies = ["theme=dark", f"{COOKIE}=garbage", f"{signed}.{signature[::-1]}", ended]
    strangers: list[dict[str, str]] = [{}, *({"Cookie": cookie} for cookie in cookies)]
    assert [await refused(side, headers=headers) for headers in strangers] == [(401, None)] * 5
    assert "connections" not in side.observed.gauges
    await side.connect()
    await directus.suspend(spectator.user_id)
    assert await refused(side) == (401, None)


async def test_directus_is_out_of_reach(side: Side, directus_line: TcpProxy) -> None:
    """Meanwhile it is 503 with Retry-After, and who is connected stays; afterwards one may connect again."""
    inside = await side.connect()
    await ask(inside, type="subscribe", topic=TOPIC_7)
    await directus_line.refuse()
    directus_line.cut()
    assert await refused(side) == (503, "5")
    await side.publish("a", race_ms())
    assert (await receive(inside))["deviceId"] == "a"
    await directus_line.accept()
    assert not (await side.connect()).closed


@pytest.mark.parametrize(
    ("fault", "retry_after"),
    [
        pytest.param(faults.under_pressure("17"), "17", id="503"),
        pytest.param(faults.too_many_requests("2"), "2", id="429"),
        pytest.param(faults.broken, "5", id="500"),
        pytest.param(faults.body(b"<html>"), "5", id="garbage"),
    ],
)
async def test_directus_fails(
    redis_url: str, stream: str, stand_in: DirectusStandIn, fault: Fault, retry_after: str
) -> None:
    """A session that cannot be checked is 503, with the time to wait that Directus told, if it did."""
    async with (
        spectator_of(stand_in) as spectator,
        live_side(redis_url, stream, devices=DEVICES, rights=spectator) as side,
    ):
        stand_in.fault = fault
        assert await refused(side) == (503, retry_after)
        assert "connections" not in side.observed.gauges


@pytest.mark.parametrize(
    ("allowed", "origin", "welcome"),
    [
        ((), None, True),
        ((), "http://{host}", True),
        ((), "https://{host}", True),
        ((), "http://elsewhere.example", False),
        ((), "null", False),
        ((), "http://[", False),
        (("https://maps.example",), "https://maps.example", True),
        (("https://maps.example",), "http://{host}", False),
        (("*",), "https://elsewhere.example", True),
        (("*",), "null", True),
        (("https://maps.example",), "HTTPS://Maps.Example:443", True),
        (("https://maps.example",), "http://maps.example", False),
        (("https://maps.example",), "https://maps.example:8443", False),
        (("https://maps.example",), "https://maps.example/", False),
        (("https://maps.example",), "https://maps.example.", False),
        (("https://maps.example",), "null", False),
        (("null",), "null", True),
        (("null",), "{host}", False),
        (("capacitor://localhost", "ionic://localhost"), "ionic://localhost", True),
        (("capacitor://localhost", "ionic://localhost"), "http://localhost", False),
        (("app://.",), "app://.", True),
        (("https://*.example.org",), "https://a.example.org", True),
        (("https://*.example.org",), "https://b.a.example.org:443", True),
        (("https://*.example.org",), "https://example.org", False),
        (("https://*.example.org",), "https://.example.org", False),
        (("https://*.example.org",), "https://evilexample.org", False),
        (("https://*.example.org",), "https://a.example.org.evil.example", False),
        (("https://*.example.org",), "https://evil.example/.example.org", False),
        (("https://*.example.org",), "https://u@a.example.org", False),
        (("https://*.example.org",), "http://a.example.org", False),
        (("https://*.example.org",), "https://a.example.org:8443", False),
        (("https://*.example.org:8443",), "https://a.example.org:8443", True),
        (("https://*.example.org:8443",), "https://a.example.org", False),
        (("https://xn--mnchen-3ya.example",), "https://xn--mnchen-3ya.example", True),
    ],
)
async def test_origins(live: LiveFactory, allowed: tuple[str, ...], origin: str | None, *, welcome: bool) -> None:
    """A page of another origin than the server's or the allowed ones is 403; a program sends none."""
    async with live(devices=DEVICES, allowed_origins=allowed) as side:
        host = f"127.0.0.1:{side.port}"
        cookie = {"Cookie": side.cookie}
        headers = cookie if origin is None else {**cookie, "Origin": origin.replace("{host}", host)}
        if welcome:
            assert not (await side.connect(headers=headers)).closed
        else:
            assert await refused(side, headers=headers) == (403, None)


async def test_no_room(live: LiveFactory) -> None:
    """At the limit a connection is refused with 503 and Retry-After; one that ends makes room."""
    async with live(devices=DEVICES, limits=LiveLimits(max_connections=2)) as side:
        first, _ = await side.connect(), await side.connect()
        assert await refused(side) == (503, "5")
        await first.close()
        await eventually(lambda: side.observed.gauges["connections"] == 1)
        await side.connect()


@pytest.mark.parametrize(
    ("trusted", "client"),
    [((), "127.0.0.1"), (("127.0.0.1",), "10.0.0.1"), (("127.0.0.0/8", "10.0.0.1"), "203.0.113.9")],
)
async def test_directus_is_asked_with_cookie_and_address(
    redis_url: str, stream: str, stand_in: DirectusStandIn, trusted: tuple[str, ...], client: str
) -> None:
    """The Cookie header and the client's address are handed on, and asked with again at subscribe and by the page.

    What the client says of itself is not.
    """
    async with (
        spectator_of(stand_in) as spectator,
        live_side(
            redis_url, stream, devices=DEVICES, rights=spectator, trusted_proxies=tuple(map(ip_network, trusted))
        ) as side,
    ):
        headers = {"Cookie": f"theme=dark; {spectator.cookie}", "X-Forwarded-For": "192.0.2.1, 203.0.113.9, 10.0.0.1"}
        socket = await side.connect(headers=headers)
        await ask(socket, type="subscribe", topic=TOPIC_7)
        async with side.http.get(f"{side.url}/config.json", headers=headers) as answer:
            assert answer.status == 200
        asked = [(a.headers["cookie"], a.headers["x-forwarded-for"]) for a in stand_in.asked]
        assert asked == [(headers["Cookie"], client)] * 4
