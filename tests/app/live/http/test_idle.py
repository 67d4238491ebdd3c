"""Connections on which nothing goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.http import pages, sending
from telemetry_app.live.http.routes import APPLICATION_OPTIONS
from tests.app.live.directus.rights import SEVEN, TOPIC_7, Spectator
from tests.app.live.harness import LiveFactory, ask, close_code, receive
from tests.support.servers.proxy import TcpProxy
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the server ends the connection, in whichever way."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := await asyncio.get_running_loop().sock_recv(connection, 65536):
            received += data
    return bytes(received)


@pytest.mark.parametrize(
    ("sent", "begins"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(GET, b"", id="half a request"),
        pytest.param(GET + b"\r\n", b"HTTP/1.1 ", id="one request"),
        pytest.param(GET + b"\r\n" + GET, b"HTTP/1.1 ", id="one and a half"),
        pytest.param(b"POST /live HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 ", id="half a body"),
    ],
)
async def test_connections_without_requests_end(
    live: LiveFactory, monkeypatch: pytest.MonkeyPatch, sent: bytes, begins: bytes
) -> None:
    """Whatever part of a request was sent; a WebSocket stays, though its client sends nothing."""
    monkeypatch.setitem(APPLICATION_OPTIONS["handler_args"], "keepalive_timeout", 0.3)
    monkeypatch.setitem(APPLICATION_OPTIONS["handler_args"], "lingering_time", 0.3)
    async with live(devices={SEVEN: ["a"]}) as side:
        watching = await side.connect()
        # In one step, so that what is sent is there when the server's time begins.
        with socket.create_connection(("127.0.0.1", side.port)) as connection:
            connection.sendall(sent)
            connection.setblocking(False)  # noqa: FBT003 - the socket module's signature
            async with asyncio.timeout(30):
                answer = await read_all(connection)
        assert answer[:9] == begins
        assert (await ask(watching, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"


async def test_signs_of_life_while_a_question_is_asked(
    live: LiveFactory, directus_line: TcpProxy, spectator: Spectator
) -> None:
    """A client that waits for an answer from Directus is heard meanwhile."""
    async with live(devices={SEVEN: ["a"]}) as side:
        watching = await side.connect()
        (connection,) = side.live.registry.connections
        directus_line.stall()
        await watching.send_json({"type": "subscribe", "topic": TOPIC_7})
        await eventually(lambda: spectator.questions[SEVEN] > 0, message="Directus is asked")
        heard_at = connection.heard_at
        await watching.pong()
        await eventually(lambda: connection.heard_at > heard_at, message="the sign of life is taken")
        directus_line.flow()
        assert (await receive(watching))["type"] == "subscribed"


async def test_too_many_signs_of_life(live: LiveFactory) -> None:
    """Pongs count like all that a client sends."""
    async with live(devices={SEVEN: ["a"]}, limits=LiveLimits(frames_per_s=0.01, frames_burst=5)) as side:
        watching = await side.connect()
        for _ in range(20):
            await watching.pong()
        assert await close_code(watching) == 4429


async def test_a_page_that_is_not_read(live: LiveFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever asks for a file of the map and does not read it is cut off in time."""
    # Far more than the kernel takes.
    size = 50_000_000
    (tmp_path / "large.js").write_bytes(bytes(size))
    monkeypatch.setattr(pages, "_STATIC", tmp_path)
    async with live(devices={}) as side:
        async with side.http.get(f"{side.url}/large.js") as file:
            assert len(await file.read()) == size
        monkeypatch.setattr(sending, "_SEND_S", 1.0)
        loop = asyncio.get_running_loop()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)  # noqa: FBT003 - the socket module's signature
            await loop.sock_connect(connection, ("127.0.0.1", side.port))
            await loop.sock_sendall(connection, GET.replace(b"/ ", b"/large.js ") + b"\r\n")
            begun = await loop.sock_recv(connection, 9)
            await eventually(lambda: not side.routes._lobby._let_in, message="the server has cut it off")
            assert (begun, len(await read_all(connection)) < size) == (b"HTTP/1.1 ", True)
