"""Replies of bounded size: Redis counts entries, not bytes, so a read may bring any number of them.

And parsers for the client: one that sees the end of its connection, and one that is bounded besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis.asyncio.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError

from faust_redis.redis.errors import ReplyTooLarge

if TYPE_CHECKING:
    from collections.abc import Sized

#: Several times what a read is meant to bring, and yet little for a process.
MOST_REPLY_BYTES: Final = 8 << 20


class ReplyBound:
    """Counts what has come of a reply.

    Attributes:
        bytes: Of the reply that came last, or of what has come of it.
    """

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0

    def begin(self) -> None:
        """Expect another reply."""
        self.bytes = 0

    def add(self, data: Sized) -> None:
        """Take note of a part of it.

        Raises:
            ReplyTooLarge: That is more than is taken; the connection must be closed, since the rest would still come.
        """
        self.bytes += len(data)
        if self.bytes > MOST_REPLY_BYTES:
            raise ReplyTooLarge(f"a reply of more than {MOST_REPLY_BYTES >> 20} MB")


class Parser(DefaultParser):  # type: ignore[valid-type,misc]  # the parser of hiredis, which we require
    """Tells the client of a connection that ended while nothing was asked.

    The client looks at a connection before it sends a command. By itself it does not see that one was reset, nor, as
    long as it may be told of maintenance, that one was closed: after an outage each connection of its pool would cost a
    command, whenever its turn comes.
    """

    async def can_read(self) -> bool:
        """Return whether something has come that nobody asked for.

        Raises:
            OSError: The connection has ended; the client opens another one.
        """
        has_come = bool(await super().can_read())
        if self._stream.exception() is not None or self._stream.at_eof():
            raise ConnectionResetError("connection lost while nothing was asked")
        return has_come


class BoundedParser(Parser):
    """Reads replies until one becomes too large; the client closes the connection after any error."""

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self._bound = ReplyBound()

    async def read_response(self, disable_decoding: bool = False, push_request: bool = False) -> object:  # noqa: FBT001, FBT002 - the client's signature
        """Return the next reply.

        Raises:
            ReplyTooLarge: Too much of it came.
        """
        self._bound.begin()
        return await super().read_response(disable_decoding=disable_decoding, push_request=push_request)

    async def read_from_socket(self) -> bool:
        """Feed what comes next."""
        data = await self._stream.read(self._read_size)
        if not data:
            raise RedisConnectionError("connection closed by Redis")
        self._bound.add(data)
        self._reader.feed(data)
        return True
