"""The shortest way from a stream to a socket: a blocking read, and one write of what it returned."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis

from telemetry_app.live.wire.frames import text_frame
from telemetry_app.tools.bench.entries import command

_GROUP: Final = b"bare"
_COUNT: Final = b"1000"
_BLOCK_MS: Final = b"100"
#: The payload is the last value of an entry.
_PAYLOAD: Final = -1
_READ_BYTES: Final = 1 << 16


class BlockingRedis:
    """Commands and replies over one blocking socket.

    Args:
        url: `redis://host:port/…` without a password.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
        self._reader = hiredis.Reader()

    def ask(self, *commands: bytes) -> list[Any]:
        """Send commands at once and return their replies.

        Raises:
            hiredis.HiredisError: One of the replies is an error.
        """
        self._socket.sendall(b"".join(commands))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(_READ_BYTES))
                continue
            if isinstance(reply, hiredis.HiredisError):
                raise reply
            replies.append(reply)
        return replies


def run(redis_url: str, stream: str, port: int) -> None:
    """Serve one client after the other: each payload as a text frame, the first one empty, until it leaves."""
    redis = BlockingRedis(redis_url)
    redis.ask(command(b"XGROUP", b"CREATE", stream.encode(), _GROUP, b"$", b"MKSTREAM"))
    read = command(
        b"XREADGROUP", b"GROUP", _GROUP, b"bench", b"COUNT", _COUNT, b"BLOCK", _BLOCK_MS, b"NOACK",
        b"STREAMS", stream.encode(), b">",
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            client, _ = server.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client, contextlib.suppress(ConnectionError):  # it left
                client.sendall(text_frame(b""))
                _serve(redis, read, client)


def _serve(redis: BlockingRedis, read: bytes, client: socket.socket) -> None:
    while True:
        [reply] = redis.ask(read)
        if isinstance(reply, list):
            client.sendall(b"".join([text_frame(fields[_PAYLOAD]) for _, entries in reply for _, fields in entries]))
        elif _has_left(client):
            return


def _has_left(client: socket.socket) -> bool:
    try:
        return not client.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
