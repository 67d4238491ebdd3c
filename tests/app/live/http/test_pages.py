"""The files of the map as they are sent over plain sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.app.live.harness import LiveFactory
from tests.support.bundle import STATIC, built

LARGEST = f"/{built('world.json')}"
REQUEST = "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def no_failure(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged that an operator would look into."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


async def leave(port: int, path: str, *, begun: bool) -> None:
    """Ask for a file and reset the connection, once the answer has begun or without waiting for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.setblocking(False)  # noqa: FBT003 - the socket module's signature
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, REQUEST.format(path).encode())
    if begun:
        assert (await loop.sock_recv(client, 15)).startswith(b"HTTP/1.1 200")
    client.close()


@pytest.mark.usefixtures("no_failure")
async def test_pages_are_sent_over_one_connection(live: LiveFactory) -> None:
    """Each file is sent whole, and the connection is good for the next one."""
    async with live(devices={}) as side:
        reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
        for path in ("/", f"/{built('app.css')}", LARGEST):
            writer.write(REQUEST.format(path).encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 200 ")
            length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
            assert len(await reader.readexactly(length)) == length > 1000
        writer.close()


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.usefixtures("no_failure")
async def test_a_client_that_leaves_is_no_failure(live: LiveFactory, *, begun: bool) -> None:
    """Clients may leave before or while a page is sent."""
    async with live(devices={}) as side:
        for _ in range(20):
            await leave(side.port, LARGEST, begun=begun)
        async with side.http.get(f"{side.url}{LARGEST}", headers={"Accept-Encoding": "identity"}) as page:
            assert len(await page.read()) == page.content_length


@pytest.mark.usefixtures("no_failure")
async def test_a_client_that_leaves_at_the_headers_is_no_failure(
    live: LiveFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection may be found closed between the headers and the file, which asyncio has no error of its own for."""
    loop = asyncio.get_running_loop()
    send = loop.sendfile

    async def closed(transport: asyncio.WriteTransport, *args: Any) -> int:
        transport.abort()
        return await send(transport, *args)

    async with live(devices={}) as side:
        monkeypatch.setattr(loop, "sendfile", closed)
        with pytest.raises(aiohttp.ClientError):
            async with side.http.get(f"{side.url}{LARGEST}") as page:
                await page.read()


@pytest.mark.parametrize(("taken", "suffix"), [("gzip, deflate, br", ".br"), ("gzip", ".gz"), ("identity", "")])
async def test_files_are_sent_compressed(live: LiveFactory, taken: str, suffix: str) -> None:
    """Each client gets the smallest that it takes, as it was built; what lies compressed has no address of its own."""
    async with live(devices={}) as side, aiohttp.ClientSession(auto_decompress=False) as http:
        kinds = {"index.html": "text/html", built("app.css"): "text/css", built("world.json"): "application/json"}
        for name, kind in kinds.items():
            async with http.get(f"{side.url}/{name}", headers={"Accept-Encoding": taken}) as page:
                assert await page.read() == (STATIC / f"{name}{suffix}").read_bytes()
                assert page.headers.get("Content-Encoding") == {".br": "br", ".gz": "gzip"}.get(suffix)
                assert page.headers["Vary"] == "Accept-Encoding"
                assert page.content_type == kind
        async with http.get(f"{side.url}/{built('app.css')}.br") as page:
            assert page.status == 404


async def test_what_never_changes_is_not_asked_for_again(live: LiveFactory) -> None:
    """A file with a digest in its name is kept for ever, any other is asked for and only sent when it has changed."""
    unchanging = [path.name for path in STATIC.glob("*-????????.*") if path.suffix not in {".br", ".gz"}]
    entries = ("app.css", "app.js", "feed.js", "map-worker.js", "world.json")
    assert {built(name) for name in entries} < set(unchanging)
    async with live(devices={}) as side:
        for name in unchanging:
            async with side.http.get(f"{side.url}/{name}") as page:
                assert page.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        async with side.http.get(f"{side.url}/") as page:
            assert page.headers["Cache-Control"] == "no-cache"
        async with side.http.get(f"{side.url}/", headers={"If-None-Match": page.headers["ETag"]}) as again:
            assert again.status == 304
