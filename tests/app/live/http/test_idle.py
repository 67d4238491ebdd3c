"""Connections on which nothing goes on."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from telemetry_app.live.http import pages, sending
from telemetry_app.live.http.routes import APPLICATION_OPTIONS
from tests.app.live.directus.rights import SEVEN, TOPIC_7
from tests.app.live.harness import LiveFactory, Side, ask

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def connect(side: Side, receive_buffer_bytes: int = 65536) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.setblocking(False)  # noqa: FBT003 - the socket module's signature
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", side.port))
    return await asyncio.open_connection(sock=connection, limit=receive_buffer_bytes)


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
        reader, writer = await connect(side)
        writer.write(sent)
        async with asyncio.timeout(10):
            answer = await reader.read(-1)
        assert answer[:9] == begins
        writer.close()
        assert (await ask(watching, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"


async def test_a_page_that_is_not_read(live: LiveFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever asks for a file of the map and does not read it is cut off in time."""
    # Far more than the kernel takes.
    size = 50_000_000
    (tmp_path / "large.js").write_bytes(bytes(size))
    monkeypatch.setattr(pages, "_STATIC", tmp_path)
    async with live(devices={}) as side:
        async with side.http.get(f"{side.url}/large.js") as file:
            assert len(await file.read()) == size
        monkeypatch.setattr(sending, "_SEND_S", 0.3)
        reader, writer = await connect(side, 4096)
        writer.write(GET.replace(b"/ ", b"/large.js ") + b"\r\n")
        received = 0
        async with asyncio.timeout(10):
            await asyncio.sleep(0.5)
            while data := await _read(reader):
                received += len(data)
        assert 0 < received < size
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except ConnectionResetError:
        return b""
