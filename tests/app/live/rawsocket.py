"""A WebSocket client that reads only when it is told to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
import zlib
from typing import Any, Self

_TEXT, _CLOSE, _PING = 1, 8, 9
_RECEIVE_BUFFER_BYTES = 4096
_COMPRESSED = 0x40
#: No more than the server needs, by its own word.
_WINDOW_BITS = 12


class NotUpgradedError(Exception):
    """The server refused the upgrade."""


class RawClient:
    """A client on a bare socket with a small receive buffer.

    Attributes:
        agreed: What the server answered to the offered extensions; None for nothing.
        last: First byte and payload of the last frame, as they came.
    """

    agreed: str | None = None
    last: tuple[int, bytes]

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()

    @classmethod
    async def connect(
        cls, port: int, cookie: str = "session=good", path: str = "/live", offers: str | None = None
    ) -> Self:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        connection.setblocking(False)  # noqa: FBT003 - the socket module's signature
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Cookie: {cookie}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        )
        if offers is not None:
            request += f"Sec-WebSocket-Extensions: {offers}\r\n"
        client = cls(connection)
        await loop.sock_sendall(connection, f"{request}\r\n".encode())
        head = await client._until(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            client.close()
            raise NotUpgradedError(head.decode())
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            if name.lower() == "sec-websocket-extensions":
                client.agreed = value
        return client

    async def send(self, data: bytes, opcode: int = _TEXT, *, first: int = 0x80) -> None:
        """Send a masked frame (the mask is zero, which changes nothing); `first` has the bits beside the opcode."""
        length = len(data)
        header = (
            struct.pack("!BBH", first | opcode, 0xFE, length)
            if length > 125
            else bytes([first | opcode, 0x80 | length])
        )
        await self.send_raw(header + bytes(4) + data)

    async def send_raw(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    async def send_json(self, **frame: Any) -> None:
        await self.send(json.dumps(frame).encode())

    async def frame(self, timeout_s: float = 30) -> tuple[int, bytes] | None:
        """Return the next frame's opcode and payload, inflated; None when the server has closed the socket."""
        async with asyncio.timeout(timeout_s):
            try:
                first, second = await self._exactly(2)
                length = second & 0x7F
                if length == 126:
                    (length,) = struct.unpack("!H", await self._exactly(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", await self._exactly(8))
                payload = await self._exactly(length)
                self.last = first, payload
                if first & _COMPRESSED:
                    # With a new inflater for each: the server may not refer to an earlier message.
                    payload = zlib.decompress(payload + b"\0\0\xff\xff\3\0", -_WINDOW_BITS)
                return first & 0x0F, payload
            except (EOFError, ConnectionError):
                return None

    async def json(self) -> dict[str, Any]:
        """Return the next text frame; pings are passed over."""
        frame = await self.frame()
        while frame is not None and frame[0] == _PING:
            frame = await self.frame()
        assert frame is not None, "the server has closed the socket"
        assert frame[0] == _TEXT, frame
        decoded: dict[str, Any] = json.loads(frame[1])
        return decoded

    async def rest(self) -> tuple[list[dict[str, Any]], int | None]:
        """Read until the server closes; return the text frames, and the close code if there was one."""
        frames: list[dict[str, Any]] = []
        code = None
        while (frame := await self.frame()) is not None:
            if frame[0] == _TEXT:
                frames.append(json.loads(frame[1]))
            elif frame[0] == _CLOSE:
                (code,) = struct.unpack("!H", frame[1][:2])
                # The server may have waited long enough, and closed the socket.
                with contextlib.suppress(OSError):
                    await self.send(frame[1], _CLOSE)
                    # After an error of the protocol the server reads no frame: only this tells it that we are done.
                    self._socket.shutdown(socket.SHUT_WR)
        return frames, code

    def close(self) -> None:
        self._socket.close()

    async def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            await self._fill()
        return await self._exactly(self._received.index(end) + len(end))

    async def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            await self._fill()
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    async def _fill(self) -> None:
        data = await self._loop.sock_recv(self._socket, 65536)
        if not data:
            raise EOFError
        self._received += data
