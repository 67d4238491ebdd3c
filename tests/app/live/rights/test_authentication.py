import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from telemetry_app.live.ports import Authentication, Credentials
from telemetry_app.live.rights.authentication import DirectusAuthenticator
from tests.app.live.directus import faults
from tests.app.live.directus.client import ADDRESS, client_of, patience_s
from tests.app.live.directus.stand_in import COOKIE, DirectusServer, DirectusStandIn, Fault
from tests.support.observed import LiveObserved

UNAUTHORIZED = Authentication("unauthorized")


class Door:
    """An authenticator that keeps no answers, and what it told."""

    def __init__(self, authenticator: DirectusAuthenticator, observed: LiveObserved) -> None:
        self._authenticator = authenticator
        self.observed = observed

    async def ask(self, cookie: str | None) -> Authentication:
        return await self._authenticator.authenticate(Credentials(cookie, ADDRESS))


@contextlib.asynccontextmanager
async def door_before(url: str, **options: Any) -> AsyncIterator[Door]:
    observed = LiveObserved()
    async with client_of(url, cache_s=0, **options) as client:
        yield Door(DirectusAuthenticator(client, observed), observed)


@pytest.fixture
async def door(directus: DirectusServer) -> AsyncIterator[Door]:
    """An authenticator in front of a Directus of either kind."""
    async with door_before(directus.url) as door:
        yield door


async def test_a_session(directus: DirectusServer, door: Door) -> None:
    """A session is its user's, whatever other cookies come with it."""
    user = await directus.add_user()
    cookie = await directus.login(user)

    assert await door.ask(cookie) == Authentication("ok", user)
    assert await door.ask(f"theme=dark; {cookie}; x=1") == Authentication("ok", user)
    assert door.observed.authentications == ["ok", "ok"]


async def test_two_users(directus: DirectusServer, door: Door) -> None:
    """Sessions asked about at the same time are not mixed up."""
    users = [await directus.add_user() for _ in range(3)]
    cookies = [await directus.login(user) for user in users]

    answers = await asyncio.gather(*(door.ask(cookie) for cookie in cookies * 5))

    assert [answer.user_id for answer in answers] == users * 5


@pytest.mark.parametrize("cookie", ["theme=dark", f"{COOKIE}=garbage", f"{COOKIE}=a.b.c", f"{COOKIE}=", "="])
async def test_no_session(door: Door, cookie: str) -> None:
    """Cookies without a session are unauthorized."""
    assert await door.ask(cookie) == UNAUTHORIZED
    assert door.observed.authentications == ["unauthorized"]


async def test_a_wrong_signature(directus: DirectusServer, door: Door) -> None:
    """A token that somebody else signed is unauthorized."""
    cookie = await directus.login(await directus.add_user())
    signed, _, signature = cookie.rpartition(".")

    assert await door.ask(f"{signed}.{signature[::-1]}") == UNAUTHORIZED


async def test_a_forged_user(directus: DirectusServer, door: Door) -> None:
    """A token whose user was changed is unauthorized."""
    one, other = await directus.add_user(), await directus.add_user()
    head, payload, signature = (await directus.login(one)).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "id": other}).encode()).rstrip(b"=").decode()

    assert await door.ask(f"{head}.{forged}.{signature}") == UNAUTHORIZED


async def test_after_logout(directus: DirectusServer, door: Door) -> None:
    """A session that was logged out is unauthorized; another of the same user goes on."""
    user = await directus.add_user()
    ended, other = await directus.login(user), await directus.login(user)
    await directus.logout(ended)

    assert await door.ask(ended) == UNAUTHORIZED
    assert await door.ask(other) == Authentication("ok", user)


async def test_a_suspended_user(directus: DirectusServer, door: Door) -> None:
    """A user who is suspended is unauthorized at once, with a session that has not expired."""
    user = await directus.add_user()
    cookie = await directus.login(user)
    assert (await door.ask(cookie)).result == "ok"
    await directus.suspend(user)

    assert await door.ask(cookie) == UNAUTHORIZED


@pytest.mark.parametrize("cookie", [None, "", "a=\x00", "a=\r\nAuthorization: Bearer x", "\udcff", "x" * 16_385])
async def test_nothing_to_ask(stand_in: DirectusStandIn, cookie: str | None) -> None:
    """Without a cookie, or with one that cannot be sent, nobody is asked."""
    async with door_before(stand_in.url) as door:
        assert await door.ask(cookie) == UNAUTHORIZED
        assert stand_in.asked == []
        assert door.observed.authentications == ["unauthorized"]


@pytest.mark.parametrize(
    ("fault", "retry_after_s"),
    [
        pytest.param(faults.too_many_requests("2"), 2.0, id="429"),
        pytest.param(faults.under_pressure("30"), 30.0, id="503"),
        pytest.param(faults.under_pressure(None), None, id="503-bare"),
        pytest.param(faults.broken, None, id="500"),
        pytest.param(faults.silence, None, id="silence"),
        pytest.param(faults.cut, None, id="cut"),
        *(
            pytest.param(faults.redirect(status, "/elsewhere"), None, id=str(status))
            for status in (301, 302, 303, 307, 308)
        ),
        *(pytest.param(faults.page(status), None, id=f"page-{status}") for status in (200, 401, 403, 404)),
        pytest.param(faults.body(b"<html>"), None, id="garbage"),
        pytest.param(faults.body(b'{"data":{}}'), None, id="no-id"),
        pytest.param(faults.body(b'{"data":{"id":null}}'), None, id="null"),
        pytest.param(faults.body(b'{"data":{"id":""}}'), None, id="empty-id"),
        pytest.param(faults.body(b'{"data":{"id":7}}'), None, id="number"),
        pytest.param(faults.body(b'{"data":[{"id":"x"}]}'), None, id="list"),
        pytest.param(faults.body(b"[]"), None, id="no-object"),
    ],
)
async def test_errors(stand_in: DirectusStandIn, fault: Fault, retry_after_s: float | None) -> None:
    """When Directus cannot be asked, the result is an error, with the time to wait where it was told."""
    cookie = await stand_in.login(await stand_in.add_user())
    stand_in.fault = fault
    async with door_before(stand_in.url, timeout_s=patience_s(fault)) as door:
        assert await door.ask(cookie) == Authentication("error", None, retry_after_s)
        assert door.observed.authentications == ["error"]


async def test_something_else_answers(stand_in: DirectusStandIn, caplog: pytest.LogCaptureFixture) -> None:
    """A server that does not know the route is not Directus: an error, not a verdict on the client, and logged."""
    observed = LiveObserved()
    async with client_of(f"{stand_in.url}/elsewhere") as client:
        answer = await DirectusAuthenticator(client, observed).authenticate(Credentials("a=1", ADDRESS))

    assert answer == Authentication("error")
    assert stand_in.asked[0].path == "/elsewhere/users/me?fields=id"
    assert "set DIRECTUS_BASE_URL to the root of Directus" in caplog.text
