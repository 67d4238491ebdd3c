"""The connection of one reader: what a busy reader sends thousands of times a second, without the client's detours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError

from telemetry_app.faust_redis.connection import REPLY_TIMEOUT_S, Client, execute, lost_connections_told

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection


class ReadConnection:
    """Sends the commands of one reader, one at a time.

    Through the client, a read takes 80 us of CPU: a connection is taken from the pool and given back, and both the
    command and the reply get a timeout of their own, one of them in a task. Here one connection is kept, under one
    timeout, and a command that repeats the one before is not packed again: 45 us. A cluster's client is used as it is,
    since it alone knows where a stream lies.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connection: AbstractConnection | None = None
        self._command: tuple[Any, ...] = ()
        self._packed: list[bytes] = []

    async def execute(self, *args: Any) -> Any:
        """Send one command and return its raw reply.

        Raises:
            redis.exceptions.RedisError: As the client would; the next command then finds a new connection.
            TimeoutError: There is no answer.
        """
        if not isinstance(self._client, Redis):
            return await execute(self._client, *args)
        with lost_connections_told():
            # A command that is left midway closes its connection, so that nobody gets its reply.
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                return await self._send(await self._connected(self._client), args)

    async def _connected(self, client: Redis) -> AbstractConnection:
        if self._connection is None:
            # Never given back: the pool closes it with the others.
            self._connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
            self._connection.socket_timeout = None
        return self._connection

    async def _send(self, connection: AbstractConnection, args: tuple[Any, ...]) -> Any:
        if args != self._command:
            self._command, self._packed = args, connection.pack_command(*args)
        await connection.send_packed_command(self._packed, check_health=False)
        try:
            return await connection.read_response()
        except ReadOnlyError:
            # The former master's; the next connection finds the new one.
            await connection.disconnect()
            raise
