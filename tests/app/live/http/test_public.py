"""Clients without a session where Directus' public role is let in: LIVE_ALLOW_PUBLIC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.directus.rights import EIGHT, MISSING, SEVEN, TOPIC_7, TOPIC_8, Spectator, spectator_of
from tests.app.live.directus.stand_in import COOKIE, DirectusServer, DirectusStandIn
from tests.app.live.harness import LiveFactory, Side, ask, close_code, live_side, race_ms, receive

DEVICES = {SEVEN: ["a"], EIGHT: ["b"]}
#: What browsers send who never signed in, or whose login is in another mode.
STRANGERS: list[dict[str, str]] = [
    {},
    {"Cookie": "theme=dark; _ga=GA1.1.1"},
    {"Cookie": "directus_refresh_token=x"},
    {"Authorization": "Bearer x"},
]


@pytest.fixture
async def public(directus: DirectusServer) -> AsyncIterator[Spectator]:
    """A user who may see two events, of which everybody may see the first."""
    async with spectator_of(directus, allow_public=True) as spectator:
        await directus.allow_public([SEVEN])
        yield spectator
        await directus.forbid_public()


@pytest.fixture
async def side(redis_url: str, stream: str, public: Spectator) -> AsyncIterator[Side]:
    limits = LiveLimits(max_connections_per_user=2, reauthorize_s=2)
    async with live_side(redis_url, stream, devices=DEVICES, rights=public, limits=limits) as side:
        yield side


async def config_status(side: Side, headers: dict[str, str]) -> int:
    async with side.http.get(f"{side.url}/config.json", headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize("headers", STRANGERS)
async def test_without_a_session(side: Side, headers: dict[str, str]) -> None:
    """Who has no session sees what everybody may, live and in the list, and nothing else."""
    socket = await side.connect(headers=headers)
    assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
    await side.publish("a", race_ms())
    assert (await receive(socket))["deviceId"] == "a"
    for topic in (TOPIC_8, f"event:{MISSING}"):
        assert (await ask(socket, type="subscribe", topic=topic))["code"] == "forbidden"
    async with side.http.get(f"{side.url}/config.json", headers=headers) as answer:
        document = await answer.json()
        assert ([event["id"] for event in document["events"]], document["viewer"]) == ([SEVEN], None)


async def test_where_to_sign_in(redis_url: str, stream: str, public: Spectator) -> None:
    """Who has no session is told where one signs in for an event that everybody may not see; who has one is not."""
    async with live_side(redis_url, stream, devices=DEVICES, rights=public, sign_in_url="/login") as side:
        for headers in STRANGERS:
            refusal = await ask(await side.connect(headers=headers), type="subscribe", topic=TOPIC_8)
            assert (refusal["code"], refusal["signInUrl"]) == ("forbidden", "/login")
        socket = await side.connect()
        refusal = await ask(socket, type="subscribe", topic=f"event:{MISSING}")
        assert (refusal["code"], "signInUrl" in refusal) == ("forbidden", False)


async def test_without_the_setting(live: LiveFactory, directus: DirectusServer) -> None:
    """Whatever Directus shows to everybody, without a session nobody comes in."""
    await directus.allow_public([SEVEN])
    async with live(devices=DEVICES) as side:
        assert [await config_status(side, headers) for headers in STRANGERS] == [401] * 4
    await directus.forbid_public()


async def test_a_session_keeps_its_rights(side: Side) -> None:
    """Who is signed in sees what the user may."""
    socket = await side.connect()
    assert (await ask(socket, type="subscribe", topic=TOPIC_8))["type"] == "subscribed"


async def test_a_session_that_is_over(side: Side, directus: DirectusServer, public: Spectator) -> None:
    """It is refused, not taken for the public, which sees less; without it one may come."""
    socket = await side.connect()
    await ask(socket, type="subscribe", topic=TOPIC_8)
    await directus.logout(public.cookie)
    assert await close_code(socket) == 4401
    over = [public.cookie, f"theme=dark; {public.cookie}", f"{COOKIE}=garbage"]
    assert [await config_status(side, {"Cookie": cookie}) for cookie in over] == [401] * 3
    assert await config_status(side, {"Cookie": "theme=dark"}) == 200


async def test_what_everybody_may_see_changes(side: Side, directus: DirectusServer) -> None:
    """When the public role loses an event, subscriptions end with `forbidden`, and may be asked for again."""
    socket = await side.connect(headers={})
    assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
    await directus.forbid_public()
    ended = await receive(socket)
    assert (ended["code"], ended["topic"]) == ("forbidden", TOPIC_7)
    await directus.allow_public([SEVEN])
    assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"


async def test_the_public_is_no_user(side: Side) -> None:
    """The bound for a user's connections is not for everybody together."""
    for headers in STRANGERS:
        assert not (await side.connect(headers=headers)).closed


async def test_the_public_shares_answers(redis_url: str, stream: str, stand_in: DirectusStandIn) -> None:
    """Whoever is public asks as one: with whatever cookies, there is no question for each about an event."""
    async with (
        spectator_of(stand_in, allow_public=True, cache_s=60) as spectator,
        live_side(redis_url, stream, devices=DEVICES, rights=spectator) as side,
    ):
        await stand_in.allow_public([SEVEN])
        for number in range(10):
            socket = await side.connect(headers={"Cookie": f"_ga={number}"})
            assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
        assert stand_in.count("/items/events/") == 1
        assert all("cookie" not in asked.headers for asked in stand_in.asked if asked.path.startswith("/items/"))
