"""Connections to PostgreSQL: one at a time for start-up work, a pool for the worker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from cachetools import TTLCache
from mode import Service

from telemetry_app.database.ailing import Ailing
from telemetry_app.database.arrays import take_only_lists_for_arrays
from telemetry_app.database.backoff import Backoff
from telemetry_app.database.errors import DATABASE_ERRORS, UNUSABLE_AFTER, Outlook, describe, meaning_of
from telemetry_app.database.sessions import Pooler, Session, Sessions, retire, used

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

logger = logging.getLogger(__name__)

#: Start-up work waits this long for a server that is starting as well.
START_UP_TIMEOUT_S: Final = 30.0
_START_UP_BACKOFF: Final = Backoff(first_s=0.1, longest_s=2.0)
#: A stopping worker closes its connections within this time, and then drops them, which takes none.
_CLOSE_TIMEOUT_S: Final = 1.5
#: Connections that nobody has used for so long are closed: others may wait for them at a pooler.
_IDLE_FOR_S: Final = 30.0
#: A reason for which connections are replaced is said again after so long without it. Of so many it is known.
_SAY_AGAIN_AFTER_S: Final = 600.0
_REASONS: Final = 100
#: A server that does not answer this fast is not ready.
_PING_TIMEOUT_S: Final = 2.0
_WHY_READ_ONLY: Final = """
SELECT CASE WHEN pg_is_in_recovery() THEN 'in recovery'
            WHEN current_setting('transaction_read_only') = 'on' THEN 'read-only' END
"""


async def connect(
    url: str, *, pooler: Pooler = "auto", attempts: int | None = None, timeout_s: float = START_UP_TIMEOUT_S
) -> Session:
    """Open one connection, waiting a bounded time for a server that is not up yet.

    A pooler in transaction mode may be behind it: statements belong into a block of `sessions.used`.

    Args:
        url: A connection string, see `telemetry_app.postgres_url`.
        pooler: What is between us and the server, see `Sessions`.
        attempts: How many times to try; by default as often as the time allows.
        timeout_s: How long to go on trying, and the limit of each try, in seconds.

    Returns:
        A connection, which the caller closes.

    Raises:
        OSError: Nobody answers at that address.
        asyncpg.PostgresError: The server refuses, at once where waiting would not help (a wrong password).
    """
    sessions = Sessions(url, pooler=pooler, settings={})
    deadline = time.monotonic() + timeout_s
    for failures in itertools.count(1):
        try:
            return await sessions.open(timeout_s)
        except DATABASE_ERRORS as error:
            wait_s = _START_UP_BACKOFF.wait_s(failures)
            if failures == attempts or time.monotonic() + wait_s > deadline:
                raise
            if meaning_of(error).outlook is not Outlook.SOON:
                raise
            logger.warning("Postgres cannot be reached yet (%s), next try in %.1f s", describe(error), wait_s)
        await asyncio.sleep(wait_s)
    raise AssertionError("unreachable: counting does not end")  # pragma: no cover


class Postgres(Service):
    """A pool of connections that is there whether the server is or not.

    Starting makes no connection: each is made when it is first needed, so a worker starts while its database is
    down. Nobody may leave session state (SET, LISTEN, advisory locks) on a connection: it is not reset on return,
    which saves a round trip for each batch.

    Args:
        url: A connection string, see `telemetry_app.postgres_url`.
        pooler: What is between us and the server, see `Sessions`.
        size: Most connections at a time.
        statement_timeout_ms: The server ends a statement that takes longer.
        connect_timeout_s: How long making one connection may take.
        acquire_timeout_s: How long `acquire` waits by default, a new connection included.
        writes: Whether it has to be a server that takes writes; to read, a standby will do.
    """

    logger = logger

    def __init__(
        self,
        url: str,
        *,
        size: int,
        pooler: Pooler = "auto",
        statement_timeout_ms: int = 20_000,
        connect_timeout_s: float = 5.0,
        acquire_timeout_s: float = 10.0,
        writes: bool = True,
        **kwargs: Any,
    ) -> None:
        self._writes = writes
        self._ailing = Ailing()
        self._said: TTLCache[str, bool] = TTLCache(maxsize=_REASONS, ttl=_SAY_AGAIN_AFTER_S)
        self._size = size
        self._connect_timeout_s = connect_timeout_s
        self._acquire_timeout_s = acquire_timeout_s
        # Compiling costs more than any statement here runs for.
        settings = {"jit": "off", "statement_timeout": str(statement_timeout_ms)}
        self._sessions = Sessions(url, pooler=pooler, settings=settings)
        self._pool: asyncpg.Pool[Any] | None = None
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        """Make the pool, without a connection."""
        take_only_lists_for_arrays()
        self._pool = await asyncpg.create_pool(
            min_size=0,
            max_size=self._size,
            max_inactive_connection_lifetime=_IDLE_FOR_S,
            connect=self._open,
            connection_class=Session,
            reset=_leave_as_it_is,
        )

    async def _open(self, *_of_the_pool: Any, **_settings: Any) -> Session:
        return await self._sessions.open(self._connect_timeout_s)

    async def on_stop(self) -> None:
        """Close every connection, after 1.5 s without waiting for the server."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await pool.close()
        except DATABASE_ERRORS as error:
            logger.warning("connections to Postgres are dropped instead of closed (%s)", describe(error))
            pool.terminate()

    @contextlib.asynccontextmanager
    async def acquire(
        self, *, timeout_s: float | None = None, proves: bool = True
    ) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """Lend a connection for the time of the `async with` block.

        A block that ends by timeout, cancellation or a broken connection has its connection dropped, and so does one
        whose failures persist (see `Ailing`): the next one may find another server, or the same in another state.

        Args:
            timeout_s: How long to wait for one, by default the pool's `acquire_timeout_s`.
            proves: Whether a success shows that the connection is good for what it is there for.

        Raises:
            TimeoutError: None was free, or the server did not answer, in time.
            OSError: Nobody answers at that address.
            asyncpg.PostgresError: The server refuses the connection.
            asyncpg.InterfaceError: The pool is not started, or is closing.
        """
        pool = self._pool
        if pool is None:
            raise asyncpg.InterfaceError("the Postgres pool is not started")
        connection = await pool.acquire(timeout=self._acquire_timeout_s if timeout_s is None else timeout_s)
        try:
            async with used(connection):
                yield connection
        except UNUSABLE_AFTER:
            with _unless_closed():
                connection.terminate()
            raise
        except asyncpg.PostgresError as error:
            with _unless_closed():
                if self._ailing.is_lost(connection, error):
                    self._say_once(error)
                    connection.terminate()
            raise
        else:
            if proves:
                self._ailing.works(connection)
            await retire(connection)
        finally:
            await pool.release(connection)

    def _say_once(self, error: asyncpg.PostgresError) -> None:
        """Say why a connection is replaced, once while that goes on: each one fails in its turn."""
        reason = describe(error)
        if reason not in self._said:
            logger.info("a connection is replaced by a new one, since it fails on and on: %s", reason)
        self._said[reason] = True

    async def why_not_ready(self) -> str | None:
        """Return None when the server answers and, if it has to, takes writes, else what is wrong in one sentence."""
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S), self.acquire(proves=False) as connection:
                if (state := await connection.fetchval(_WHY_READ_ONLY)) and self._writes:
                    raise asyncpg.ReadOnlySQLTransactionError(state)  # noqa: TRY301 - for this connection to be replaced
        except TimeoutError:
            return f"Postgres does not answer within {_PING_TIMEOUT_S:g} s."
        except asyncpg.ReadOnlySQLTransactionError:
            return f"Postgres is {state} and takes no writes."
        except DATABASE_ERRORS as error:
            return f"Postgres is not usable: {describe(error)}."
        return None


def _unless_closed() -> contextlib.AbstractContextManager[None]:
    """Do nothing more with a connection that was closed: the pool has taken it from its borrower already."""
    return contextlib.suppress(asyncpg.InterfaceError)


async def _leave_as_it_is(_connection: object) -> None:
    """Stand in for asyncpg's reset, which costs a round trip for each use of a connection."""
