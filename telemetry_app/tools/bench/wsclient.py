"""WebSocket clients as bare sockets: the upgrade and one subscription, then bytes."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S: Final = 30.0
#: Connected at once: fewer than a server's usual backlog.
_WAVE: Final = 64
_HEADERS: Final = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n"
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
_TEXT: Final = 1
_read_medium = Struct("!H").unpack_from
_read_long = Struct("!Q").unpack_from


class Address(NamedTuple):
    """Where the WebSocket is, on this machine."""

    port: int
    path: str


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
    with contextlib.ExitStack() as connected:
        for begin in range(0, number, _WAVE):
            wave = [
                connected.enter_context(_connect(address, receive_bytes)) for _ in range(min(_WAVE, number - begin))
            ]
            for one in wave:
                _finish_upgrade(one, topic)
            for one in wave:
                _read_answer(one)
                one.settimeout(0)
            sockets += wave
        connected.pop_all()
    return sockets


def payloads(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Find the text frames in what came from a server.

    Yields:
        Where the payload of each whole text frame begins, and where it ends.
    """
    at = 0
    while (frame := _frame(data, at)) is not None:
        begin, end = frame
        if data[at] & _OPCODE_BITS == _TEXT:
            yield begin, end
        at = end


def _frame(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    if len(data) < at + _SHORT_HEADER:
        return None
    length, begin = data[at + 1] & _LENGTH_BITS, at + _SHORT_HEADER
    if length == _MEDIUM and len(data) >= begin + 2:
        (length,), begin = _read_medium(data, begin), begin + 2
    elif length == _LONG and len(data) >= begin + 8:
        (length,), begin = _read_long(data, begin), begin + 8
    elif length >= _MEDIUM:
        return None
    return (begin, begin + length) if begin + length <= len(data) else None


def _connect(address: Address, receive_bytes: int | None) -> socket.socket:
    one = socket.socket()
    if receive_bytes is not None:
        # Has to be small before the window is offered.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    one.settimeout(_TIMEOUT_S)
    one.connect(("127.0.0.1", address.port))
    key = base64.b64encode(os.urandom(16))
    one.sendall(_HEADERS % (address.path.encode(), address.port, key))
    return one


def _finish_upgrade(one: socket.socket, topic: str) -> None:
    answer = b""
    # The server says nothing of its own accord behind the headers; a refusal has a body there.
    while b"\r\n\r\n" not in answer:
        answer += _received(one)
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(f"the upgrade was refused: {answer.splitlines()[0].decode()}")
    request = b'{"type":"subscribe","topic":"%b"}' % topic.encode()
    one.sendall(b"\x81" + bytes([0x80 | len(request)]) + _NO_MASK + request)


def _read_answer(one: socket.socket) -> None:
    answer = b""
    while (frame := next(payloads(answer), None)) is None:
        answer += _received(one)
    begin, end = frame
    if not answer[begin:end].startswith(b'{"type":"subscribed"') or end != len(answer):
        raise RuntimeError(f"the subscription was refused: {answer[begin : begin + _SHOWN].decode(errors='replace')}")


def _received(one: socket.socket) -> bytes:
    data = one.recv(65536)
    if not data:
        raise RuntimeError("the server closed the connection")
    return data
