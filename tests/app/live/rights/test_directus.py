import asyncio
import gzip
import logging

import pytest
from aiohttp import web

from telemetry_app.live.rights.directus import Answer, Directus, Unavailable, can_be_sent
from tests.app.live.directus import faults
from tests.app.live.directus.client import ADDRESS, TIMEOUT_S, Me, ask, client_of, patience_s, session
from tests.app.live.directus.stand_in import COOKIE, DirectusStandIn, Fault
from tests.support.waiting import eventually


async def test_only_cookie_and_address_go_out(stand_in: DirectusStandIn) -> None:
    """A question carries the client's Cookie header as it came, its address, and nothing else of the client's."""
    cookie = f"theme=dark; {await session(stand_in)}; name=Zoë"
    async with client_of(stand_in.url) as client:
        await ask(client, cookie)

    assert stand_in.asked[0].headers == {
        "host": stand_in.url.removeprefix("http://"),
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "telemetry-processor",
        "cookie": cookie,
        "x-forwarded-for": ADDRESS,
    }


@pytest.mark.parametrize("address", ["", "203.0.113.7\r\nAuthorization: Bearer x", "\udcff", "x" * 9000])
async def test_an_address_that_cannot_be_sent(stand_in: DirectusStandIn, address: str) -> None:
    """An address that is no header is left out; the question is asked without it."""
    cookie = await session(stand_in)
    async with client_of(stand_in.url) as client:
        answer = await ask(client, cookie, address=address)

    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert "x-forwarded-for" not in stand_in.asked[0].headers
    assert "authorization" not in stand_in.asked[0].headers


@pytest.mark.parametrize("header", ["", "a\nb", "a\x00b", "a\x7fb", "\udcff", "x" * 16_385])
def test_what_cannot_be_sent(header: str) -> None:
    """Nothing, control characters, what is not UTF-8 and what is too long is not sent on."""
    assert not can_be_sent(header)


@pytest.mark.parametrize("header", ["a=b", "a=Zoë;\tb", "x" * 8000])
def test_what_can_be_sent(header: str) -> None:
    """Anything else is."""
    assert can_be_sent(header)


async def test_cookies_of_answers_are_forgotten(stand_in: DirectusStandIn) -> None:
    """A cookie that Directus sets for one client does not go out with another's question."""

    async def renew(_request: web.Request) -> web.StreamResponse:
        response = web.Response(text='{"data":{"id":"x"}}')
        response.set_cookie(COOKIE, "renewed")
        return response

    stand_in.fault = renew
    async with client_of(stand_in.url) as client:
        await ask(client, "a=1")
        await ask(client, "a=2")

    assert [asked.headers["cookie"] for asked in stand_in.asked] == ["a=1", "a=2"]


async def test_a_thousand_at_once(stand_in: DirectusStandIn) -> None:
    """A thousand identical questions at the same time are one request, and all get its answer."""
    cookie = await session(stand_in)
    stand_in.gate.clear()
    async with client_of(stand_in.url) as client:
        asking = [asyncio.create_task(ask(client, cookie, address=f"10.0.0.{n % 250}")) for n in range(1000)]
        await eventually(lambda: stand_in.asked)
        stand_in.gate.set()
        answers = await asyncio.gather(*asking)

    assert len(stand_in.asked) == 1
    assert [answer.status for answer in answers if isinstance(answer, Answer)] == [200] * 1000


async def test_a_reconnect_storm(stand_in: DirectusStandIn) -> None:
    """A thousand clients with twenty sessions make twenty requests, never more than sixteen at a time."""
    cookies = [await session(stand_in) for _ in range(20)]
    stand_in.gate.clear()
    async with client_of(stand_in.url) as client:
        asking = [asyncio.create_task(ask(client, cookies[n % 20])) for n in range(1000)]
        await eventually(lambda: len(stand_in.asked) == 16)
        stand_in.gate.set()
        answers = await asyncio.gather(*asking)

    assert (len(stand_in.asked), stand_in.busiest) == (20, 16)
    assert len({answer.content.data["id"] for answer in answers if isinstance(answer, Answer) and answer.content}) == 20


async def test_answers_are_kept(stand_in: DirectusStandIn) -> None:
    """An answer serves again, to the same cookie and the same path alone."""
    cookie, other = await session(stand_in), await session(stand_in)
    async with client_of(stand_in.url) as client:
        first = await ask(client, cookie)
        assert await ask(client, cookie) is first
        assert await ask(client, other) != first
        await ask(client, cookie, path="/items/events/1")

    assert len(stand_in.asked) == 3


async def test_refusals_are_kept(stand_in: DirectusStandIn) -> None:
    """A refusal is an answer too: a client with a dead session costs one request."""
    async with client_of(stand_in.url) as client:
        answers = [await ask(client, f"{COOKIE}=x") for _ in range(3)]

    assert [answer.status for answer in answers if isinstance(answer, Answer)] == [401] * 3
    assert len(stand_in.asked) == 1


async def test_nothing_is_kept(stand_in: DirectusStandIn) -> None:
    """With a cache of no time every question is asked."""
    cookie = await session(stand_in)
    async with client_of(stand_in.url, cache_s=0) as client:
        for _ in range(3):
            await ask(client, cookie)

    assert len(stand_in.asked) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(faults.too_many_requests(None), "status 429", id="429"),
        pytest.param(faults.under_pressure(None), "status 503", id="503"),
        pytest.param(faults.broken, "status 500", id="500"),
        pytest.param(faults.silence, "no answer within 0.3 s", id="silence"),
        pytest.param(faults.cut, "ServerDisconnectedError", id="cut"),
        pytest.param(faults.cut_short, "ClientPayloadError", id="cut-short"),
        pytest.param(faults.body(b"\xff<html>"), "an answer that is not a Me (1)", id="garbage"),
        pytest.param(faults.body(b""), "an answer that is not a Me (1)", id="nothing"),
        pytest.param(faults.body(b'{"data":[]}'), "an answer that is not a Me (1)", id="other-shape"),
        pytest.param(faults.body(b"[" * 60_000), "an answer that is not a Me (1)", id="deep"),
        pytest.param(
            faults.body(gzip.compress(b'{"data":{}}'), encoding="gzip"), "an answer that is not a Me (1)", id="packed"
        ),
        pytest.param(faults.body(b" " * 65_537), "an answer of more than 65536 bytes", id="huge"),
        pytest.param(faults.endless, "an answer of more than 65536 bytes", id="endless"),
    ],
)
async def test_failures(stand_in: DirectusStandIn, monkeypatch: pytest.MonkeyPatch, fault: Fault, reason: str) -> None:
    """Whatever is not an answer is a failure, is not kept, and the next question is answered."""
    cookie = await session(stand_in)
    stand_in.fault = fault
    async with client_of(stand_in.url, timeout_s=patience_s(fault)) as client:
        assert await ask(client, cookie) == Unavailable(reason)
        stand_in.fault = None
        monkeypatch.setattr(client, "_timeout_s", TIMEOUT_S)
        answer = await ask(client, cookie)

    assert isinstance(answer, Answer)
    assert answer.status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("https://cms.example.org/users/me?fields=id", "https://cms.example.org"),
        ("https://u:secret@cms.example.org/users/me", "https://u:***@cms.example.org"),
        ("/admin/login?next=secret", "/admin/login"),
        (f"https://cms.example.org/{'x' * 5000}", f"https://cms.example.org/{'x' * 176}"),
    ],
)
async def test_a_redirection_is_named(
    stand_in: DirectusStandIn, caplog: pytest.LogCaptureFixture, status: int, target: str, shown: str
) -> None:
    """It is not followed, since cookies would go along; the log says where it leads and what to set, and no secret."""
    stand_in.fault = faults.redirect(status, target)
    async with client_of(stand_in.url) as client:
        answer = await ask(client, "a=1")

    where = "set DIRECTUS_BASE_URL to where it answers"
    assert answer == Unavailable(f"status {status}, a redirection to {shown!r}: {where}")
    assert len(stand_in.asked) == 1
    assert [record.getMessage() for record in caplog.records] == [f"Directus: {answer.reason}"]


@pytest.mark.parametrize("status", [200, 401, 403, 404])
async def test_a_page_is_no_answer(stand_in: DirectusStandIn, status: int) -> None:
    """What a proxy or another server says in HTML is no verdict on a client, whatever its status."""
    stand_in.fault = faults.page(status)
    async with client_of(stand_in.url) as client:
        answer = await ask(client, "a=1")

    assert answer == Unavailable(f"status {status} with a page: set DIRECTUS_BASE_URL to the root of Directus")


async def test_the_largest_answer(stand_in: DirectusStandIn) -> None:
    """An answer of exactly the limit is read."""
    text = b'{"data":{"id":"x"}}'
    stand_in.fault = faults.body(text + b" " * (65_536 - len(text)))
    async with client_of(stand_in.url) as client:
        assert await ask(client, "a=1") == Answer(200, Me(data={"id": "x"}), 65_536)


async def test_nobody_there() -> None:
    """Without a Directus the failure names its address."""
    async with client_of("http://127.0.0.1:1") as client:
        answer = await ask(client, "a=1")

    assert isinstance(answer, Unavailable)
    assert "127.0.0.1:1" in answer.reason


async def test_waiting_counts(stand_in: DirectusStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that gets no turn within its time fails, and keeps none: nobody waits in a queue of slow requests."""
    stand_in.fault = faults.silence
    async with client_of(stand_in.url, timeout_s=patience_s(faults.silence)) as client:
        for _ in range(2):
            answers = await asyncio.gather(*(ask(client, f"a={n}") for n in range(60)))
            assert answers == [Unavailable("no answer within 0.3 s")] * 60
        stand_in.fault = None
        monkeypatch.setattr(client, "_timeout_s", TIMEOUT_S)
        answer = await ask(client, await session(stand_in))

    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert stand_in.busiest <= 16


async def test_questions_of_an_address_wait_for_each_other(stand_in: DirectusStandIn) -> None:
    """Whatever one address asks, with however many cookies, another's question is asked as soon as one is answered."""
    cookie = await session(stand_in)
    stand_in.gate.clear()
    async with client_of(stand_in.url) as client:
        crowd = [asyncio.create_task(ask(client, f"a={n}", address=f"2001:db8::{n:x}")) for n in range(500)]
        await eventually(lambda: len(stand_in.asked) == 16)
        other = asyncio.create_task(ask(client, cookie, address="2001:db8:1::1"))
        stand_in.gate.set()
        answer = await other
        await asyncio.wait(crowd)

    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert [asked.headers["cookie"] for asked in stand_in.asked].index(cookie) <= 17
    assert stand_in.busiest == 16


async def test_leaving(stand_in: DirectusStandIn) -> None:
    """A client that leaves does not take the question away from those who share it."""
    cookie = await session(stand_in)
    stand_in.gate.clear()
    async with client_of(stand_in.url) as client:
        leaving, staying = (asyncio.create_task(ask(client, cookie)) for _ in range(2))
        await eventually(lambda: stand_in.asked)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        stand_in.gate.set()
        answer = await staying

    assert isinstance(answer, Answer)
    assert (answer.status, len(stand_in.asked)) == (200, 1)


async def test_stopping(stand_in: DirectusStandIn) -> None:
    """Stopping ends the questions under way at once; who asks afterwards is told."""
    stand_in.gate.clear()
    client = Directus(stand_in.url, timeout_s=60, cache_s=0)
    assert await ask(client, "a=1") == Unavailable("the service is not running")
    async with client:
        asking = asyncio.create_task(ask(client, "a=1"))
        await eventually(lambda: stand_in.asked)
    assert await asyncio.wait_for(asking, 30) == Unavailable("the service is stopping")
    assert await ask(client, "a=1") == Unavailable("the service is not running")


async def test_an_outage_is_two_lines(stand_in: DirectusStandIn, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred failures are one line, their end another, and neither has a cookie in it."""
    caplog.set_level(logging.DEBUG)
    cookie = await session(stand_in)
    stand_in.fault = faults.broken
    async with client_of(stand_in.url) as client:
        await asyncio.gather(*(ask(client, f"{cookie}; n={n}") for n in range(100)))
        stand_in.fault = None
        await ask(client, cookie)

    lines = [record.getMessage() for record in caplog.records if record.name == "telemetry_app.live.rights.directus"]
    assert [line for line in lines if line.startswith("Directus")] == [
        "Directus: status 500",
        "Directus: works again, after 100 failures",
    ]
    assert cookie.partition("=")[2] not in caplog.text


@pytest.mark.parametrize("fault", [faults.broken, faults.cut, faults.cut_short, faults.body(b"x"), faults.endless])
async def test_secrets_stay_out_of_the_log(
    stand_in: DirectusStandIn, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """No failure puts a cookie into the log, at any level."""
    caplog.set_level(logging.DEBUG)
    stand_in.fault = fault
    async with client_of(stand_in.url) as client:
        answer = await ask(client, f"{COOKIE}=verysecret")

    assert isinstance(answer, Unavailable)
    assert "Directus: " in caplog.text
    assert "verysecret" not in caplog.text + answer.reason
