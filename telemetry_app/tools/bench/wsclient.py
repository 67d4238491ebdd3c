"""WebSocket clients as bare sockets: the upgrade and one subscription, then bytes."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import zlib
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S: Final = 30.0
#: Connected at once: fewer than a server's usual backlog.
WAVE: Final = 64
_HEADERS: Final = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)
#: A mask of zeros leaves the payload as it is.
_NO_MASK: Final = bytes(4)
PONG: Final = b"\x8a\x80" + _NO_MASK

#: Of an answer that is not the one due.
_SHOWN: Final = 200

_SHORT_HEADER: Final = 2
_LENGTH_BITS: Final = 0x7F
_MEDIUM: Final = 126
_LONG: Final = 127
_OPCODE_BITS: Final = 0x0F
_COMPRESSED_BIT: Final = 0x40
_TEXT: Final = 1
_PING: Final = 9
#: What a sender of compressed messages leaves away at their end.
_DEFLATE_TAIL: Final = b"\0\0\xff\xff"
_read_medium = Struct("!H").unpack_from
_read_long = Struct("!Q").unpack_from


class Address(NamedTuple):
    """Where the WebSocket is, on this machine."""

    port: int
    path: str


class Frame(NamedTuple):
    """A whole frame: its first byte, and where its payload begins and ends."""

    first_byte: int
    begin: int
    end: int

    @property
    def is_text(self) -> bool:
        """Whether it is a text frame."""
        return self.first_byte & _OPCODE_BITS == _TEXT

    @property
    def is_ping(self) -> bool:
        """Whether it asks for a sign of life."""
        return self.first_byte & _OPCODE_BITS == _PING

    def text(self, data: bytes | bytearray) -> bytes:
        """Return the payload, inflated if it was compressed."""
        payload = bytes(data[self.begin : self.end])
        if self.first_byte & _COMPRESSED_BIT:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + _DEFLATE_TAIL)
        return payload


def subscribe_all(
    address: Address, topic: str, number: int, *, receive_bytes: int | None = None
) -> list[socket.socket]:
    """Connect clients, subscribe each to a topic, and read its answer.

    Args:
        address: Of the WebSocket.
        topic: What to subscribe to.
        number: Of clients.
        receive_bytes: Size of each socket's receive buffer, unless the system's.

    Raises:
        RuntimeError: The server refused.
        OSError: It does not answer.
    """
    sockets: list[socket.socket] = []
    request = b'{"type":"subscribe","topic":"%b"}' % topic.encode()
    with contextlib.ExitStack() as connected:
        for begin in range(0, number, WAVE):
            wave = [
                connected.enter_context(connect(address, receive_bytes=receive_bytes))
                for _ in range(min(WAVE, number - begin))
            ]
            for one in wave:
                finish_upgrade(one)
                ask(one, request)
            for one in wave:
                read_answer(one)
                one.settimeout(0)
            sockets += wave
        connected.pop_all()
    return sockets


def connect(
    address: Address, *, receive_bytes: int | None = None, source: str = "127.0.0.1", headers: bytes = b""
) -> socket.socket:
    """Connect and ask for the upgrade.

    Args:
        address: Of the WebSocket.
        receive_bytes: Size of the socket's receive buffer, unless the system's.
        source: Address of this machine to connect from.
        headers: Further lines of the request.
    """
    one = socket.socket()
    if receive_bytes is not None:
        # Has to be small before the window is offered.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    one.settimeout(_TIMEOUT_S)
    one.bind((source, 0))
    one.connect(("127.0.0.1", address.port))
    key = base64.b64encode(os.urandom(16))
    one.sendall(_HEADERS % (address.path.encode(), address.port, key, headers))
    return one


def finish_upgrade(one: socket.socket) -> bytes:
    """Read the server's answer to the upgrade and return it.

    Raises:
        RuntimeError: The server refused.
    """
    answer = b""
    # The server says nothing of its own accord behind the headers; a refusal has a body there.
    while b"\r\n\r\n" not in answer:
        answer += _received(one)
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(f"the upgrade was refused: {answer.splitlines()[0].decode()}")
    return answer


def ask(one: socket.socket, request: bytes) -> None:
    """Send a request of less than 126 bytes."""
    one.sendall(b"\x81" + bytes([0x80 | len(request)]) + _NO_MASK + request)


def read_answer(one: socket.socket) -> bytes:
    """Read the answer to a subscribe and return it.

    Raises:
        RuntimeError: It is another one, or something came behind it.
    """
    data = b""
    while (frame := next(frames(data), None)) is None:
        data += _received(one)
    answer = frame.text(data)
    if not answer.startswith(b'{"type":"subscribed"') or frame.end != len(data):
        raise RuntimeError(f"the subscription was refused: {answer[:_SHOWN].decode(errors='replace')}")
    return answer


def payloads(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Find the text frames in what came from a server.

    Yields:
        Where the payload of each whole text frame begins, and where it ends.
    """
    return ((frame.begin, frame.end) for frame in frames(data) if frame.is_text)


def frames(data: bytes | bytearray) -> Iterator[Frame]:
    """Yield the whole frames in what came from a server."""
    at = 0
    while (frame := _frame(data, at)) is not None:
        yield frame
        at = frame.end


def _frame(data: bytes | bytearray, at: int) -> Frame | None:
    if len(data) < at + _SHORT_HEADER:
        return None
    length, begin = data[at + 1] & _LENGTH_BITS, at + _SHORT_HEADER
    if length == _MEDIUM and len(data) >= begin + 2:
        (length,), begin = _read_medium(data, begin), begin + 2
    elif length == _LONG and len(data) >= begin + 8:
        (length,), begin = _read_long(data, begin), begin + 8
    elif length >= _MEDIUM:
        return None
    return Frame(data[at], begin, begin + length) if begin + length <= len(data) else None


def _received(one: socket.socket) -> bytes:
    data = one.recv(65536)
    if not data:
        raise RuntimeError("the server closed the connection")
    return data
