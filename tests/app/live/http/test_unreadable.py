"""Requests with too much or too strange in their headers, byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.app.live.directus.rights import SEVEN, TOPIC_7, Spectator, spectator_of
from tests.app.live.directus.stand_in import DirectusServer, DirectusStandIn
from tests.app.live.harness import LiveFactory, Side, ask, live_side

SECRET = "of-nobodys-business"
MOST = 16_384


@pytest.fixture
async def side(live: LiveFactory) -> AsyncIterator[Side]:
    async with live(devices={SEVEN: ["a"]}) as side:
        yield side


async def answer(side: Side, head: bytes) -> tuple[int, dict[str, Any]]:
    """Send a request and return the status of its answer and the content."""
    reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
    writer.write(head)
    text = (await asyncio.wait_for(reader.read(), 20)).decode()
    writer.close()
    assert SECRET not in text
    return int(text.split()[1]), json.loads(text.partition("\r\n\r\n")[2])


def request(*headers: str, path: str = "/config.json") -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


def filled(cookie: str, chars: int) -> str:
    """Return a Cookie header of so many characters, with a cookie among others."""
    rest = f"{SECRET}; {cookie}; b="
    return f"a={SECRET * (chars // 2 // len(SECRET))}{rest}".ljust(chars, "x")


def assert_told(caplog: pytest.LogCaptureFixture, *kinds: str) -> None:
    """The log has a short line for each of these kinds, and no traceback."""
    assert [record.getMessage().partition(":")[0] for record in caplog.records if record.levelname != "INFO"] == [
        f"refused ({kind})" for kind in kinds
    ]
    assert all(record.exc_info is None for record in caplog.records)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("chars", [7_000, 8_001, 12_000, MOST])
async def test_many_cookies(side: Side, spectator: Spectator, caplog: pytest.LogCaptureFixture, chars: int) -> None:
    """With up to 16 KB of cookies beside the session's a spectator comes in and sees the event."""
    headers = {"Cookie": filled(spectator.cookie, chars)}
    socket = await side.connect(headers=headers)
    assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
    assert_told(caplog)


async def test_directus_is_not_sent_what_it_would_refuse(
    redis_url: str, stream: str, stand_in: DirectusStandIn
) -> None:
    """Of few cookies all are handed on; of many only the session's, since Node and proxies take less than 16 KB."""
    async with (
        spectator_of(stand_in) as spectator,
        live_side(redis_url, stream, devices={SEVEN: ["a"]}, rights=spectator) as side,
    ):
        few, many = filled(spectator.cookie, 8_000), filled(spectator.cookie, 8_001)
        for cookie in (few, many):
            assert not (await side.connect(headers={"Cookie": cookie})).closed
        assert [asked.headers["cookie"] for asked in stand_in.asked] == [few, spectator.cookie]


@pytest.mark.parametrize("chars", [MOST + 1, 20_000, 70_000])
async def test_too_many_cookies(side: Side, spectator: Spectator, caplog: pytest.LogCaptureFixture, chars: int) -> None:
    """Above it the answer says so, and quotes nothing; neither does the log."""
    status, body = await answer(side, request(f"Cookie: {filled(spectator.cookie, chars)}"))
    assert (status, body["code"]) == (431, "headers-too-large")
    assert "16 KB in one header, most likely of cookies" in body["message"]
    assert_told(caplog, "431 headers-too-large")


async def test_too_many_cookies_in_several_lines(
    side: Side, spectator: Spectator, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines of the header that are short enough each, and not together, are too many."""
    lines = [f"Cookie: {filled(spectator.cookie, 9_000)}"] * 2
    status, body = await answer(side, request(*lines))
    assert (status, body["code"]) == (431, "headers-too-large")
    assert_told(caplog, "431 headers-too-large")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (request(f"X-Long: {SECRET * 2000}"), 431),
        (request(f"{SECRET * 2000}: x"), 431),
        (request(path=f"/{SECRET * 2000}"), 414),
        (request(path=f"/live?event={SECRET * 450}"), 414),
        (request(*[f"X-{n}: {SECRET}" for n in range(200)]), 400),
        (request(f"Cookie: a={SECRET}\x00"), 400),
        (request(f"Cookie: a={SECRET}\x1b[31m\x7f"), 400),
        (request(f"Coo kie: {SECRET}"), 400),
        (request(f"Cookie {SECRET}"), 400),
        (f"GET / HTTP/1.1\r\nCookie: {SECRET}\r\n\r\n".encode(), 400),
        (f"GET / HTTP/9.9\r\nHost: a\r\nCookie: {SECRET}\r\n\r\n".encode(), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET.encode() + b"\r\n\r\n", 400),
        (SECRET.encode() + b"\r\n\r\n", 400),
    ],
    ids=range(13),
)
async def test_what_cannot_be_read(side: Side, caplog: pytest.LogCaptureFixture, head: bytes, status: int) -> None:
    """Whatever else is wrong with a request, it is told in JSON, and in one line of the log."""
    code, word = {
        431: ("headers-too-large", "header"),
        414: ("address-too-long", "address"),
        400: ("bad-request", "request"),
    }[status]
    seen, body = await answer(side, head)
    assert (seen, body["code"]) == (status, code)
    assert word in body["message"]
    assert_told(caplog, f"{status} {code}")


async def test_bytes_that_are_no_text(side: Side, directus: DirectusServer) -> None:  # noqa: ARG001 - who says so
    """A cookie that is not UTF-8 is no session's."""
    status, body = await answer(side, request("Cookie: a=?").replace(b"?", b"\xff\xfe"))
    assert (status, body["code"]) == (401, "no-session")
