"""A TCP proxy that breaks the network between a client and a server as a test wants it."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import urlsplit

from telemetry_app.tools.embedded.ports import free_port

#: Which way bytes go.
Direction = Literal["to server", "to client"]

CHUNK_BYTES = 65536
# Linger for no time: the kernel answers a close with RST and drops what was not sent.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, eq=False)
class _Link:
    """A client's connection and the task that carries bytes between it and the server."""

    client: asyncio.StreamWriter
    task: asyncio.Task[None]
    flowing: asyncio.Event

    def reset(self) -> None:
        _reset(self.client)
        self.task.cancel()


class TcpProxy:
    """A proxy on a fixed port of 127.0.0.1 in front of `host:port`, for use inside one event loop.

    It starts flowing and accepting. `latency_s` delays each piece (up to 64 KiB) in either direction, and may be
    set at any time; so may `loses`: the first piece of which it is true is lost, with its connection; and `holds`: the
    first piece of which it is true stays here, and its connection stalls. With `tls` clients have to speak TLS, and the
    server behind is spoken to in plain text.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.latency_s = 0.0
        self.loses: Callable[[bytes], bool] | None = None
        self.holds: Callable[[bytes], bool] | None = None
        self.port = free_port()
        self._upstream = (host, port)
        self._tls = tls
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self._refuses = False
        self._flowing: dict[Direction, asyncio.Event] = {"to server": asyncio.Event(), "to client": asyncio.Event()}
        self.flow()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.refuse()
        tasks = [link.task for link in self._links]
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many clients are connected through the proxy."""
        return len(self._links)

    def cut(self) -> None:
        """Close every connection with RST on both sides; new ones are accepted."""
        for link in list(self._links):
            link.reset()

    def stall(self, *directions: Direction) -> None:
        """Pass nothing on, in the directions given or in both, and keep the connections; new ones hang too."""
        for direction in directions or self._flowing:
            self._flowing[direction].clear()

    def stall_some(self, chosen: Callable[[], bool]) -> None:
        """Pass nothing on, in either direction, of those connections that there are now and that are chosen."""
        for link in self._links:
            if chosen():
                link.flowing.clear()

    def flow(self) -> None:
        """Pass on again, beginning with what was held back."""
        for flowing in (*self._flowing.values(), *(link.flowing for link in self._links)):
            flowing.set()

    def retarget(self, host: str, port: int) -> None:
        """Lead new connections to another server."""
        self._upstream = (host, port)

    async def refuse(self) -> None:
        """Close the listening socket: new connections are refused, those that exist go on."""
        self._refuses = True
        if self._listener is not None:
            listener, self._listener = self._listener, None
            for listening in listener.sockets:
                asyncio.get_running_loop().remove_reader(listening)
            # One that was just accepted becomes a connection, and is reset; after the close nobody would have it.
            await asyncio.sleep(0)
            # Without wait_closed(), which from Python 3.12 on waits for the connections as well.
            listener.close()

    async def accept(self) -> None:
        """Listen again, on the same port."""
        self._refuses = False
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)

    def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        # Not a coroutine: the connection is known, and can be cut, from its first moment on. It was not known yet while
        # it was accepted, and may have been refused and cut with the others meanwhile.
        if self._refuses:
            _reset(client)
            return
        flowing = asyncio.Event()
        flowing.set()
        link = _Link(client, asyncio.get_running_loop().create_task(self._carry(reader, client, flowing)), flowing)
        self._links.add(link)
        link.task.add_done_callback(lambda _: self._links.discard(link))

    async def _carry(
        self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        try:
            server_reader, server = await asyncio.open_connection(*self._upstream)
            try:
                async with asyncio.TaskGroup() as directions:
                    directions.create_task(
                        self._pump((self._flowing["to server"], flowing), client_reader, server, client)
                    )
                    directions.create_task(
                        self._pump((self._flowing["to client"], flowing), server_reader, client, server)
                    )
            except asyncio.CancelledError:  # the connection is cut
                _reset(server)
                raise
            finally:
                await _close(server)
        except OSError:  # the server cannot be reached
            _reset(client)
        finally:
            await _close(client)

    async def _pump(
        self,
        flowing: tuple[asyncio.Event, ...],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        source: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if self.holds is not None and self.holds(data):
                    self.holds = None
                    flowing[-1].clear()
                await _all_set(flowing)
                await asyncio.sleep(self.latency_s)
                if self.loses is not None and self.loses(data):
                    self.loses = None
                    _reset(writer)
                    _reset(source)
                    return
                writer.write(data)
                await writer.drain()
            await _all_set(flowing)
            if not writer.is_closing() and writer.can_write_eof():
                writer.write_eof()
        except OSError:  # one side was reset: so is the other
            _reset(writer)
            _reset(source)


async def _all_set(events: tuple[asyncio.Event, ...]) -> None:
    for event in events:
        await event.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def url_through(proxy: TcpProxy, url: str) -> str:
    """Return `url` with the proxy's host and port in place of its own."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}").geturl()
