"""What a refused client is told, and what the operator reads of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from multidict import CIMultiDict

from telemetry_app.database import outage
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.http import refusal_log
from telemetry_app.live.rights.open_access import OpenAuthenticator, OpenAuthorizer
from tests.app.live.directus import faults
from tests.app.live.directus.rights import SEVEN, Spectator, spectator_of
from tests.app.live.directus.stand_in import COOKIE, DirectusServer, DirectusStandIn
from tests.app.live.harness import LiveFactory, Side, live_side
from tests.support.database import pool
from tests.support.servers.proxy import TcpProxy
from tests.support.waiting import eventually

DEVICES = {SEVEN: ["a"]}
SECRET = "of-nobodys-business"


@pytest.fixture
async def side(live: LiveFactory) -> AsyncIterator[Side]:
    async with live(devices=DEVICES) as side:
        yield side


async def refused(side: Side, headers: Mapping[str, str], path: str = "/live") -> tuple[int, str]:
    """Return status and code of the answer; it has a sentence too, and nothing that was sent."""
    async with side.http.get(f"{side.url}{path}", headers=headers) as answer:
        body: dict[str, Any] = await answer.json()
    assert set(body) == {"code", "message"}
    assert body["message"].endswith(".")
    assert SECRET not in str(body)
    return answer.status, body["code"]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if "refused" in record.getMessage()]
    assert all(level == "WARNING" and len(line) < 400 and SECRET not in line for level, line in lines)
    return [line for _, line in lines]


@pytest.mark.parametrize("path", ["/live", "/config.json"])
@pytest.mark.parametrize(
    ("headers", "code", "advice"),
    [
        ({}, "no-session", "SESSION_COOKIE_DOMAIN"),
        ({"Cookie": f"theme={SECRET}"}, "no-session", "SESSION_COOKIE_DOMAIN"),
        ({"Cookie": f"{COOKIE}={SECRET}"}, "session-ended", "Please sign in again"),
        ({"Cookie": f"theme=dark; {COOKIE}={SECRET}"}, "session-ended", "Please sign in again"),
        ({"Cookie": f"directus_refresh_token={SECRET}"}, "session-mode", '"mode": "session"'),
        ({"Authorization": f"Bearer {SECRET}"}, "session-mode", '"mode": "session"'),
        ({"Authorization": f"Bearer {SECRET}", "Cookie": "theme=dark"}, "session-mode", '"mode": "session"'),
    ],
)
async def test_no_session(
    side: Side, caplog: pytest.LogCaptureFixture, headers: dict[str, str], code: str, advice: str, path: str
) -> None:
    """Who has no session is told what is missing; the log says what to do about it."""
    assert await refused(side, headers, path) == (401, code)
    (line,) = told(caplog)
    assert line.startswith(f"refused (401 {code}): ")
    assert advice in line


async def test_a_token_in_the_address(side: Side) -> None:
    """A token as Directus takes it in an address is no session either."""
    assert await refused(side, {}, f"/live?access_token={SECRET}") == (401, "session-mode")


async def test_several_cookie_headers(side: Side) -> None:
    """A session is found in whichever line of the header it stands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
    head = f"GET /config.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: a=1\r\nCookie: {side.cookie}\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


#: A list replaces the same origin, so the map's own belongs in it.
NOT_THE_SAME = (
    "not the same; if this page may connect, name its origin and the map's own in LIVE_ALLOWED_ORIGINS,"
    " or let the proxy pass on the page's Host"
)


@pytest.mark.parametrize(
    ("allowed", "advice"),
    [
        ((), NOT_THE_SAME),
        (("https://maps.example",), "not in LIVE_ALLOWED_ORIGINS; if this page may connect, add its origin"),
    ],
)
async def test_a_foreign_page(
    live: LiveFactory, caplog: pytest.LogCaptureFixture, allowed: tuple[str, ...], advice: str
) -> None:
    """The log has the origin, the host and the setting that would let the page in."""
    async with live(devices=DEVICES, allowed_origins=allowed) as side:
        headers = {"Origin": "https://elsewhere.example", "Host": "maps.example:81", "Cookie": side.cookie}
        assert await refused(side, headers) == (403, "origin")
    seen = "Origin 'https://elsewhere.example', Host 'maps.example:81'"
    assert told(caplog) == [f"refused (403 origin): {seen}: {advice}"]


@pytest.mark.parametrize("allowed", [(), ("https://maps.example",), ("https://*.example",)])
async def test_several_origins(live: LiveFactory, caplog: pytest.LogCaptureFixture, allowed: tuple[str, ...]) -> None:
    """No browser sends two: they are refused, whichever comes first, also where each of them might connect."""
    page, other = ("Origin", "https://maps.example"), ("Origin", "https://elsewhere.example")
    async with live(devices=DEVICES, allowed_origins=allowed) as side:
        for origins in ((page, other), (other, page), (page, page)):
            headers = CIMultiDict([("Host", "maps.example"), ("Cookie", side.cookie), *origins])
            assert await refused(side, headers, "/config.json") == (403, "origin")
    assert "Origin 'https://maps.example, https://elsewhere.example'" in told(caplog)[0]


async def test_where_to_sign_in(live: LiveFactory) -> None:
    """Who has no session is told where people sign in, other refused ones are not."""
    async with live(devices=DEVICES, sign_in_url="/login") as side:
        for path in ("/live", "/config.json"):
            async with side.http.get(f"{side.url}{path}") as answer:
                assert (answer.status, (await answer.json())["signInUrl"]) == (401, "/login")
            async with side.http.get(f"{side.url}{path}", headers={"Origin": "https://elsewhere.example"}) as answer:
                assert (answer.status, "signInUrl" in await answer.json()) == (403, False)
    async with live(devices=DEVICES) as side, side.http.get(f"{side.url}/live") as answer:
        assert (await answer.json()).keys() == {"code", "message"}


async def test_where_to_sign_in_again(directus: DirectusServer, redis_url: str, stream: str) -> None:
    """Whose session has ended since it was last known is told so too, whatever of an event is asked for."""
    async with (
        spectator_of(directus, cache_s=600) as spectator,
        live_side(redis_url, stream, devices=DEVICES, rights=spectator, sign_in_url="/login") as side,
    ):
        headers = {"Cookie": spectator.cookie}
        async with side.http.get(f"{side.url}/config.json", headers=headers) as answer:
            assert answer.status == 200
        await directus.logout(spectator.cookie)
        for what in ("course", "history/extent"):
            async with side.http.get(f"{side.url}/live/{what}?event={SEVEN}", headers=headers) as answer:
                body = await answer.json()
                assert (answer.status, body["code"], body.get("signInUrl")) == (401, "session-ended", "/login")


async def test_a_page_behind_a_proxy_that_changes_host(live: LiveFactory) -> None:
    """A browser names no origin where it takes it for the same: the page does, and reads which setting lets it in."""
    async with live(devices=DEVICES) as side:
        headers = {"Host": "live-1:8081", "Cookie": side.cookie}
        async with side.http.get(f"{side.url}/live?origin=https://maps.example", headers=headers) as answer:
            assert answer.status == 403
            assert "LIVE_ALLOWED_ORIGINS" in (await answer.json())["message"]
        async with side.http.get(f"{side.url}/live?origin=https://live-1:8081", headers=headers) as answer:
            assert (answer.status, "Access-Control-Allow-Origin" in answer.headers) == (426, False)


async def test_a_page_reads_why_it_is_refused(live: LiveFactory) -> None:
    """An app or a page that may connect may read answers and refusals too; another one may not."""
    async with live(devices=DEVICES, allowed_origins=("capacitor://localhost",)) as side:
        for path in ("/live", "/config.json"):
            for origin, readable in (("capacitor://localhost", True), ("https://elsewhere.example", False)):
                async with side.http.get(f"{side.url}{path}", headers={"Origin": origin}) as answer:
                    assert answer.status == (401 if readable else 403)
                    assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is readable
                    assert ("Access-Control-Allow-Credentials" in answer.headers) is readable
        headers = {"Origin": "capacitor://localhost", "Cookie": side.cookie}
        async with side.http.get(f"{side.url}/config.json", headers=headers) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "capacitor://localhost")
        assert not (await side.connect(headers=headers)).closed


async def test_an_endless_origin(side: Side, caplog: pytest.LogCaptureFixture) -> None:
    """However long the headers are, the line is short and of one line."""
    origin = "https://" + "x\u00e9\u2028" * 500
    assert await refused(side, {"Origin": origin, "Host": "y" * 4000}) == (403, "origin")
    (line,) = told(caplog)
    assert line.isprintable()


async def test_no_room(live: LiveFactory, caplog: pytest.LogCaptureFixture) -> None:
    """At the limit the answer says that the server is full, the log which setting is."""
    async with live(devices=DEVICES, limits=LiveLimits(max_connections=1)) as side:
        await side.connect()
        assert await refused(side, {"Cookie": side.cookie}) == (503, "full")
        assert "LIVE_MAX_CONNECTIONS" in told(caplog)[0]


async def test_directus_is_away(side: Side, directus_line: TcpProxy, caplog: pytest.LogCaptureFixture) -> None:
    """A session that cannot be checked is not called ended."""
    await directus_line.refuse()
    directus_line.cut()
    assert await refused(side, {"Cookie": side.cookie}) == (503, "unavailable")
    assert told(caplog)[0].startswith("refused (503 unavailable): ")


async def test_before_the_start_and_after_the_end(side: Side) -> None:
    """While nobody is let in, the answer says so."""
    await side.live.close_connections()
    assert await refused(side, {"Cookie": side.cookie}) == (503, "starting")


async def test_other_requests(side: Side) -> None:
    """A request that is none for a WebSocket, or for no page that there is, is told so too."""
    assert await refused(side, {"Cookie": side.cookie}) == (426, "upgrade-required")
    for path in ("/none.html", "/live/none", "/live/none/none.html", "/ws/live"):
        assert await refused(side, {}, path) == (404, "not-found")


async def test_a_flood_is_a_line_with_a_number(
    side: Side,
    directus: DirectusServer,
    spectator: Spectator,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of each kind there is a line at once, then one for all that came in the time that follows."""
    monkeypatch.setattr(refusal_log, "_EVERY_S", 1.0)
    await directus.logout(spectator.cookie)
    clock = asyncio.get_running_loop().time
    begun_at = clock()
    for number in range(30):
        await refused(side, {"Origin": f"https://{number}.example"})
        await refused(side, {"Cookie": side.cookie})
    first = told(caplog)[:2]
    assert [line.partition(":")[0] for line in first] == ["refused (403 origin)", "refused (401 session-ended)"]

    def counted() -> int:
        """Return how many refusals the lines tell of: one each, or as many as they say."""
        return sum(int(line.split("): ")[1].split()[0]) if " more in " in line else 1 for line in told(caplog))

    await eventually(lambda: counted() == 60, message="all are counted")
    # Of either kind the first one, and then no more than one a second.
    assert len(told(caplog)) <= 2 * (1 + clock() - begun_at)
    assert "https://29.example" in [line for line in told(caplog) if "origin" in line][-1]


async def test_connections_without_a_request_are_told(live: LiveFactory, caplog: pytest.LogCaptureFixture) -> None:
    """Who is cut for want of descriptors is told in one line, with what allows more."""
    async with (
        live(devices=DEVICES, limits=LiveLimits(max_descriptors=4)) as side,
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(12):
            _, writer = await asyncio.open_connection("127.0.0.1", side.port)
            stack.callback(writer.close)
            writer.write(b"GET /live HTTP/1.1\r\n")
        await eventually(lambda: side.observed.counts["refused waiting"] >= 8)
    (line,) = told(caplog)
    assert line.startswith("refused (503 waiting): ")
    assert "ulimit -Hn" in line
    assert "LIVE_TRUSTED_PROXIES" in line


async def test_another_reason_is_told(
    redis_url: str,
    stream: str,
    stand_in: DirectusStandIn,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A Directus that was away and answers with a redirection when it is back is named, each reason once."""
    monkeypatch.setattr(outage, "COMPLAIN_EVERY_S", 0.0)
    async with (
        spectator_of(stand_in) as spectator,
        live_side(redis_url, stream, devices=DEVICES, rights=spectator) as side,
    ):
        cookie = {"Cookie": side.cookie}
        for fault in (faults.cut, faults.redirect(301, "https://directus.example.org/users/me"), None, faults.cut):
            stand_in.fault = fault
            for _ in range(3):
                await refused(side, cookie) if fault else await (await side.connect()).close()
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Directus: ")]
    cut, redirection, again = said
    assert "ServerDisconnectedError" in cut
    assert "status 301, a redirection to 'https://directus.example.org'" in redirection
    assert again == cut


class _Open(OpenAuthenticator, OpenAuthorizer):
    """Rights with LIVE_AUTH=none."""

    cookie = ""


async def test_without_a_directus_the_database_is_named(
    redis_url: str, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With LIVE_AUTH=none nobody is told of rights, or that there are no events, while the database is away."""
    unread = "The database cannot be read. Try again."
    messages = {
        "/live/course": unread,
        "/live/history": unread,
        "/live/history/extent": unread,
        "/config.json": "Your events could not be listed. Try again.",
    }
    asked = {"event": SEVEN, "from": "0", "to": "1"}
    async with (
        pool("postgresql://postgres@127.0.0.1:1/x") as postgres,
        live_side(redis_url, stream, devices=DEVICES, rights=_Open(postgres)) as side,
    ):
        for path, message in messages.items():
            async with side.http.get(f"{side.url}{path}", params=asked) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                assert await answer.json() == {"code": "unavailable", "message": message}
    (line,) = told(caplog)
    assert "the database could not be read" in line
