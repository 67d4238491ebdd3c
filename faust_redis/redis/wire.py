"""Connections for what is sent often, past the client's detours."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError, InvalidResponse, ReadOnlyError

from faust_redis.redis.bounds import ReplyBound
from faust_redis.redis.client import REPLY_TIMEOUT_S, Client, as_lost_connections, execute
from faust_redis.redis.errors import ReplyTooLarge

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

logger = logging.getLogger(__name__)

#: What is taken over from the client's connection stands under these names, which are the client's own.
_WRITER: Final = "_writer"
_PARSER: Final = "_parser"
_INCOMPLETE: Final = object()


class DirectConnection:
    """Sends commands one at a time.

    Through the client, a small command takes 80 us of CPU, and thrice as much when it comes after a pause: a connection
    is taken from the pool and given back, streams and timeouts lie between, some of them in a task of their own. Here
    the client only opens the connection (address, TLS, password); its socket is then used directly, and a command that
    repeats the one before is not packed again: 25 us. A cluster's client is used as it is, since it alone knows where a
    stream lies, and so is one that has renamed what is taken over here.

    Attributes:
        reply_bytes: Size of the last reply; None through a client, which does not tell.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connection: AbstractConnection | None = None
        self._wire: _Wire | None = None
        self._takes_over = isinstance(client, Redis)
        self._turn = asyncio.Lock()
        self._command: tuple[Any, ...] = ()
        self._packed = b""
        self.reply_bytes: int | None = None

    async def execute(self, *args: Any) -> Any:
        """Send one command and return its raw reply.

        Raises:
            redis.exceptions.RedisError: As the client would; the next command then finds a new connection.
            TimeoutError: There is no answer.
        """
        async with self._turn:
            with as_lost_connections():
                wire = self._wire
                if self._takes_over and (wire is None or wire.is_lost or self._is_outdated):
                    wire = self._wire = await self._take_over()
                if wire is None:
                    return await execute(self._client, *args)
                if args != self._command and self._connection is not None:
                    self._command, self._packed = args, b"".join(self._connection.pack_command(*args))
                reply = await wire.ask(self._packed)
            self.reply_bytes = wire.bound.bytes
            return reply

    @property
    def _is_outdated(self) -> bool:
        """Whether this connection may be to a former master, see `client.drop_connections`."""
        return self._connection is not None and self._connection.should_reconnect()  # type: ignore[no-untyped-call]

    async def _take_over(self) -> _Wire | None:
        """Return a new connection's socket; None when this client has none to take over, now or ever."""
        client: Any = self._client
        connection = await self._connected(client)
        try:
            return _Wire(connection)
        except AttributeError as missing:
            logger.warning("commands go through the client, which costs more CPU: its connections differ (%s)", missing)
            self._takes_over = False
            self._connection = None
            await client.connection_pool.release(connection)
            return None

    async def _connected(self, client: Redis) -> AbstractConnection:
        if self._connection is None:
            # Never given back: the pool closes it with the others.
            self._connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        else:
            await self._connection.disconnect(nowait=True)
            await self._connection.connect()  # type: ignore[no-untyped-call]
        return self._connection


class _Wire(asyncio.Protocol):
    """An open connection's socket, taken over from the client.

    A command that is abandoned closes it, so that the next one is not given its reply.

    The client's own protocol is still told of the end, since the client waits for it when it closes the connection.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        writer, parser = getattr(connection, _WRITER), getattr(connection, _PARSER)
        if writer is None:
            raise RedisConnectionError("the connection was closed while it was opened")
        self._loop = asyncio.get_running_loop()
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse, replyError=parser.parse_error, notEnoughData=_INCOMPLETE
        )
        self.bound = ReplyBound()
        self._waiter: asyncio.Future[Any] | None = None
        self._transport: asyncio.Transport = writer.transport
        self._former = self._transport.get_protocol()
        self._transport.set_protocol(self)

    @property
    def is_lost(self) -> bool:
        """Whether the socket is closed or about to be."""
        return self._transport.is_closing()

    async def ask(self, command: bytes) -> Any:
        waiter = self._waiter = self._loop.create_future()
        self.bound.begin()
        timer = self._loop.call_later(REPLY_TIMEOUT_S, self._fail, TimeoutError("Redis does not answer"))
        try:
            self._transport.write(command)
            reply = await waiter
        finally:
            timer.cancel()
            if self._waiter is not None:
                self._transport.abort()
                self._waiter = None
        if isinstance(reply, Exception):
            if isinstance(reply, ReadOnlyError):
                # The former master's; the next connection finds the new one.
                self._transport.abort()
            raise reply
        return reply

    def data_received(self, data: bytes) -> None:
        try:
            self.bound.add(data)
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not _INCOMPLETE:
                # Readers ignore what a server sends unasked.
                if not isinstance(reply, hiredis.PushNotification):
                    self._answer(reply)
        except (InvalidResponse, ReplyTooLarge) as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(RedisConnectionError(f"connection lost: {exc or 'closed by Redis'}"))
        self._former.connection_lost(exc)

    def _answer(self, reply: Any) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(reply)
            self._waiter = None

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
