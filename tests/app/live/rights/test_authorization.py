import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from telemetry_app.live.ports import Authorization, Credentials
from telemetry_app.live.rights.authorization import DirectusAuthorizer, can_be_an_id
from tests.app.live.directus import faults
from tests.app.live.directus.client import ADDRESS, any_id, client_of, patience_s
from tests.app.live.directus.stand_in import COOKIE, DirectusServer, DirectusStandIn, Fault
from tests.support.observed import LiveObserved

OK = Authorization("ok")
NOT_FOUND = Authorization("not-found")
FORBIDDEN = Authorization("forbidden")
UNAUTHORIZED = Authorization("unauthorized")
MISSING = "11111111-1111-4111-8111-111111111111"

#: Which is an answer when events are listed.
NO_EVENTS = faults.body(b'{"data":[]}')


class Desk:
    """An authorizer that keeps no answers, and what it told."""

    def __init__(self, authorizer: DirectusAuthorizer, observed: LiveObserved) -> None:
        self._authorizer = authorizer
        self.observed = observed

    async def may_see(self, event_id: str, cookie: str | None) -> Authorization:
        return await self._authorizer.may_see(event_id, Credentials(cookie, ADDRESS))

    async def events(self, cookie: str | None) -> list[dict[str, Any]] | None:
        return await self._authorizer.visible_events(Credentials(cookie, ADDRESS))


@contextlib.asynccontextmanager
async def desk_before(url: str, **options: Any) -> AsyncIterator[Desk]:
    observed = LiveObserved()
    async with client_of(url, cache_s=0, **options) as client:
        yield Desk(DirectusAuthorizer(client, observed, any_id), observed)


@pytest.fixture
async def desk(directus: DirectusServer) -> AsyncIterator[Desk]:
    """An authorizer in front of a Directus of either kind."""
    async with desk_before(directus.url) as desk:
        yield desk


@pytest.fixture
async def failing_desk(stand_in: DirectusStandIn) -> AsyncIterator[Desk]:
    """An authorizer in front of a Directus that can be made to fail."""
    async with desk_before(stand_in.url) as desk:
        yield desk


async def viewer(directus: DirectusServer, *events: str) -> tuple[str, str]:
    """Return a new user who may see these events, and a session."""
    user = await directus.add_user()
    await directus.allow(user, events)
    return user, await directus.login(user)


async def test_rights(directus: DirectusServer, desk: Desk) -> None:
    """An event may be seen by those whom Directus lets read it; missing events look like forbidden ones."""
    mine, other = await directus.add_event("mine"), await directus.add_event("other")
    _, cookie = await viewer(directus, mine)

    results = [await desk.may_see(event_id, cookie) for event_id in (mine, other, MISSING, "malformed")]

    assert results == [OK, FORBIDDEN, FORBIDDEN, FORBIDDEN]
    assert desk.observed.authorizations == ["ok", "forbidden", "forbidden", "forbidden"]


async def test_rights_change(directus: DirectusServer, desk: Desk) -> None:
    """A right that is taken is gone with the next question, and one that is given is there."""
    event = await directus.add_event("race")
    user, cookie = await viewer(directus, event)
    assert await desk.may_see(event, cookie) == OK
    await directus.forbid(user)
    assert await desk.may_see(event, cookie) == FORBIDDEN
    await directus.allow(user, [event])
    assert await desk.may_see(event, cookie) == OK


async def test_the_id_alone_is_enough(directus: DirectusServer, desk: Desk) -> None:
    """A user who may read nothing of an event but its id may see it, and finds it in the list without a name."""
    event = await directus.add_event("race")
    user, cookie = await viewer(directus)
    await directus.allow(user, [event], ["id"])

    assert await desk.may_see(event, cookie) == OK
    assert await desk.events(cookie) == [{"id": event}]


async def test_after_logout(directus: DirectusServer, desk: Desk) -> None:
    """A session that is over is unauthorized, and sees no list."""
    event = await directus.add_event("race")
    _, cookie = await viewer(directus, event)
    await directus.logout(cookie)

    assert await desk.may_see(event, cookie) == UNAUTHORIZED
    assert await desk.may_see(event, f"{COOKIE}=garbage") == UNAUTHORIZED
    assert await desk.events(cookie) == []


async def test_another_spelling_of_an_id(directus: DirectusServer, desk: Desk) -> None:
    """An id in capitals, which Directus takes for the same, is not found: nothing is published under that topic."""
    event = await directus.add_event("race")
    _, cookie = await viewer(directus, event)

    assert await desk.may_see(event.upper(), cookie) == NOT_FOUND


async def test_the_list(directus: DirectusServer, desk: Desk) -> None:
    """The list has the events one may see, by name."""
    names = ["b", "ä", "a"]
    ids = {name: await directus.add_event(name) for name in names}
    await directus.add_event("hidden")
    _, cookie = await viewer(directus, *ids.values())

    assert await desk.events(cookie) == [{"id": ids[name], "name": name} for name in ("a", "b", "ä")]


async def test_an_empty_list(directus: DirectusServer, desk: Desk) -> None:
    """Who may see nothing gets an empty list."""
    user = await directus.add_user()

    assert await desk.events(await directus.login(user)) == []


@pytest.mark.parametrize(
    "event_id", ["../users", "..%2Fusers", "a/../../b", "?fields=*", "#", "a&b=c", "ä ö", "\\", "%"]
)
async def test_ids_are_encoded(stand_in: DirectusStandIn, failing_desk: Desk, event_id: str) -> None:
    """Whatever an id contains, it stays one segment of the path that was meant."""
    _, cookie = await viewer(stand_in)

    assert await failing_desk.may_see(event_id, cookie) == FORBIDDEN
    path = stand_in.asked[0].path
    assert path.startswith("/items/events/")
    assert path.endswith("?fields=id")
    segment = path.removeprefix("/items/events/").removesuffix("?fields=id")
    assert unquote(segment) == event_id
    assert not set(segment) & set("/?#&=\\ ")


@pytest.mark.parametrize(
    "event_id",
    [
        "",
        ".",
        "..",
        "x" * 256,
        "x" * 10_000,
        "a\x00",
        "a\n",
        "\ud800",
        " ",
        "   ",
        "\t",
        " 7",
        "7 ",
        "7\u00a0",
        "\u3000",
    ],
)
async def test_ids_that_no_event_has(stand_in: DirectusStandIn, failing_desk: Desk, event_id: str) -> None:
    """Such an id is not found, without asking."""
    _, cookie = await viewer(stand_in)

    assert await failing_desk.may_see(event_id, cookie) == NOT_FOUND
    assert stand_in.asked == []
    assert failing_desk.observed.authorizations == ["not-found"]


@given(event_id=st.text(max_size=260))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_id(stand_in: DirectusStandIn, failing_desk: Desk, event_id: str) -> None:
    """No id reaches another route, and none raises."""
    _, cookie = await viewer(stand_in)
    stand_in.asked.clear()

    assert await failing_desk.may_see(event_id, cookie) == (FORBIDDEN if can_be_an_id(event_id) else NOT_FOUND)
    assert stand_in.count("/items/events/") == len(stand_in.asked)


@pytest.mark.parametrize("cookie", [None, "", "a=\x00", "x" * 16_385])
async def test_without_a_cookie(stand_in: DirectusStandIn, failing_desk: Desk, cookie: str | None) -> None:
    """Without a cookie, or with one that cannot be sent, nobody is asked."""
    assert await failing_desk.may_see(MISSING, cookie) == UNAUTHORIZED
    assert await failing_desk.events(cookie) == []
    assert stand_in.asked == []


@pytest.mark.parametrize(
    ("fault", "retry_after_s"),
    [
        pytest.param(faults.too_many_requests("2"), 2.0, id="429"),
        pytest.param(faults.under_pressure("30"), 30.0, id="503"),
        pytest.param(faults.broken, None, id="500"),
        pytest.param(faults.silence, None, id="silence"),
        pytest.param(faults.cut, None, id="cut"),
        pytest.param(faults.body(b"<html>"), None, id="garbage"),
        pytest.param(faults.body(b'{"data":{}}'), None, id="no-id"),
        pytest.param(faults.body(b'{"data":{"id":true}}'), None, id="boolean"),
        pytest.param(NO_EVENTS, None, id="list"),
        pytest.param(faults.endless, None, id="endless"),
    ],
)
async def test_errors(stand_in: DirectusStandIn, fault: Fault, retry_after_s: float | None) -> None:
    """When Directus cannot be asked, the result is an error, with the time to wait where it was told."""
    _, cookie = await viewer(stand_in)
    stand_in.fault = fault
    async with desk_before(stand_in.url, timeout_s=patience_s(fault)) as desk:
        assert await desk.may_see(MISSING, cookie) == Authorization("error", retry_after_s)
        assert desk.observed.authorizations == ["error"]
        assert await desk.events(cookie) == ([] if fault is NO_EVENTS else None)


async def test_numbered_events(stand_in: DirectusStandIn, failing_desk: Desk) -> None:
    """Where events are numbered, the number is the id."""
    stand_in.fault = faults.body(b'{"data":{"id":7}}')
    assert await failing_desk.may_see("7", "a=1") == OK
    assert await failing_desk.may_see("007", "a=1") == NOT_FOUND
    stand_in.fault = faults.body(b'{"data":[{"id":7,"name":null},{"id":8,"name":"x"},{"id":9,"name":3}]}')
    assert await failing_desk.events("a=1") == [{"id": "7"}, {"id": "8", "name": "x"}, {"id": "9"}]


@pytest.mark.parametrize("odd", [b"1" * 5000, b"[" * 5000 + b"]" * 5000, b"NaN", b'{"a":"]\\""}'])
async def test_an_odd_event_alone_is_not_listed(stand_in: DirectusStandIn, failing_desk: Desk, odd: bytes) -> None:
    """Names that are none are left out, and so are events without an id; the others are listed."""
    events = b'{"id":7,"name":%b},{"id":8,"name":"x"},{"id":%b,"name":"y"},{"name":"z"},%b'
    stand_in.fault = faults.body(b'{"data":[%b]}' % (events % (odd, odd, odd)))
    assert await failing_desk.events("a=1") == [{"id": "7"}, {"id": "8", "name": "x"}]


async def test_ids_of_another_kind(stand_in: DirectusStandIn) -> None:
    """Directus, which fails with 500 at some of them, is not asked about ids that the column cannot hold."""
    stand_in.fault = faults.broken
    async with client_of(stand_in.url) as client:
        desk = Desk(DirectusAuthorizer(client, LiveObserved(), str.isdecimal), LiveObserved())
        assert await desk.may_see("x", "a=1") == NOT_FOUND
        assert stand_in.asked == []
        assert await desk.may_see("7", "a=1") == Authorization("error")


async def test_no_such_collection(stand_in: DirectusStandIn) -> None:
    """A route that does not exist is not found."""
    async with client_of(f"{stand_in.url}/elsewhere") as client:
        desk = Desk(DirectusAuthorizer(client, LiveObserved(), any_id), LiveObserved())
        assert await desk.may_see(MISSING, "a=1") == NOT_FOUND


async def test_a_reconnect_storm(stand_in: DirectusStandIn) -> None:
    """A thousand clients with twenty sessions subscribe to two events: forty requests."""
    events = [await stand_in.add_event(name) for name in "ab"]
    cookies = [(await viewer(stand_in, *events))[1] for _ in range(20)]
    async with client_of(stand_in.url) as client:
        authorizer = DirectusAuthorizer(client, LiveObserved(), any_id)
        asking = (
            authorizer.may_see(events[n % 2], Credentials(cookies[n % 40 // 2], f"10.0.0.{n % 250}"))
            for n in range(1000)
        )
        answers = await asyncio.gather(*asking)

    assert answers == [OK] * 1000
    assert len(stand_in.asked) == 40
