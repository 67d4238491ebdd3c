"""The connections of a port: who is cut when there are too many, and who is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web

from telemetry_app.serving.lobby import Lobby
from telemetry_app.serving.server import BoundedRunner
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Run = Callable[[Lobby], contextlib.AbstractAsyncContextManager[int]]


class Desk:
    """What came to a port, and whom it has refused."""

    def __init__(self) -> None:
        self.refused = 0

    def lobby(self, most: int, **options: Any) -> Lobby:
        return Lobby(most, refused=self._count, **options)

    def _count(self) -> None:
        self.refused += 1


@contextlib.asynccontextmanager
async def serving(lobby: Lobby) -> AsyncIterator[int]:
    """Serve short answers and WebSockets, which are let in; give the port."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            return web.Response(text="here you are")
        with lobby.let_in(request.protocol):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket

    app = web.Application()
    app.router.add_get("/", answer)
    runner = BoundedRunner(app, lobby, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def come(port: int, *, peer: str = "127.0.0.1") -> Stream:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(peer, 0))


async def ended(stream: Stream) -> bytes:
    """Return what comes until the connection is cut."""
    async with asyncio.timeout(10):
        try:
            return await stream[0].read(-1)
        except ConnectionResetError:
            return b""


async def ask(stream: Stream) -> bytes:
    stream[1].write(GET)
    async with asyncio.timeout(10):
        head = await stream[0].readuntil(b"\r\n\r\n")
        await stream[0].readexactly(len("here you are"))
    return head


async def test_the_one_that_waits_for_longest_is_cut() -> None:
    """A newcomer takes the place of the one whose request is oldest; who never asked is told that there is no room."""
    desk = Desk()
    async with serving(desk.lobby(3)) as port:
        first, second, third = [await come(port) for _ in range(3)]
        assert b" 200 " in await ask(second)
        assert b" 200 " in await ask(first)
        fourth = await come(port)
        assert b" 200 " in await ask(fourth)
        assert (await ended(third)).startswith(b"HTTP/1.1 503 ")
        fifth = await come(port)
        assert await ended(second) == b""
        for each in (first, fourth, fifth):
            assert b" 200 " in await ask(each)
        assert desk.refused == 1
        for each in (first, second, third, fourth, fifth):
            each[1].close()


async def test_who_is_let_in_stays() -> None:
    """Whoever else comes; and when it goes its place is free again."""
    desk = Desk()
    lobby = desk.lobby(4)
    async with serving(lobby) as port, ClientSession(f"http://127.0.0.1:{port}") as http:
        sockets = [await http.ws_connect("/") for _ in range(3)]
        crowd = [await come(port) for _ in range(20)]
        await eventually(lambda: desk.refused == 19)
        for socket in sockets:
            await socket.send_str("still here")
            assert await socket.receive_str(timeout=10) == "still here"
        await asyncio.gather(*(socket.close() for socket in sockets))
        for stream in crowd:
            stream[1].close()
        await eventually(lambda: not lobby._waiting)
        refused = desk.refused
        crowd = [await come(port) for _ in range(4)]
        for stream in crowd:
            assert b" 200 " in await ask(stream)
            stream[1].close()
        assert desk.refused == refused


async def test_a_peer_cuts_its_own() -> None:
    """A peer that has its share takes no place of another; a proxy's clients are no peer."""
    desk = Desk()
    lobby = desk.lobby(50, most_of_peer=3, peer_of=lambda address: None if address == "127.0.0.9" else address)
    async with serving(lobby) as port:
        others = [await come(port, peer=peer) for peer in ("127.0.0.2", "127.0.0.2", "127.0.0.3")]
        proxied = [await come(port, peer="127.0.0.9") for _ in range(10)]
        crowd = [await come(port) for _ in range(30)]
        await eventually(lambda: desk.refused == 27)
        for stream in (*others, *proxied, *crowd[-3:]):
            assert b" 200 " in await ask(stream)
        for stream in crowd[:-3]:
            assert (await ended(stream)).startswith(b"HTTP/1.1 503 ")
        for stream in (*others, *proxied, *crowd):
            stream[1].close()
        await eventually(lambda: not lobby._waiting)


@pytest.mark.parametrize("files", [0, 2])
async def test_open_files_count(files: int) -> None:
    """A file that is being sent takes the place of a connection."""
    desk = Desk()
    lobby = desk.lobby(4)
    async with serving(lobby) as port:
        crowd = [await come(port) for _ in range(4)]
        await eventually(lambda: len(lobby._waiting) == 4)
        with contextlib.ExitStack() as stack:
            for _ in range(files):
                stack.enter_context(lobby.file())
            assert desk.refused == files
        for stream in crowd:
            stream[1].close()
