"""Sessions of the database, whether a pooler is between or not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlencode

import asyncpg

from telemetry_app.database.errors import DATABASE_ERRORS, UNUSABLE_AFTER
from telemetry_app.postgres_url.foreign import leave_out_foreign_variables
from telemetry_app.postgres_url.url import PostgresUrl, parse

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[Any]
else:
    _Connection = asyncpg.Connection

logger = logging.getLogger(__name__)

Pooler = Literal["auto", "session", "transaction"]

APPLICATION_NAME: Final = "telemetry-processor"
_STATEMENTS_KEPT: Final = 100
#: A pooler in session mode keeps whom it has no session for waiting until another client leaves: with fewer of its
#: sessions than we would open, workers take turns of this length.
_POOLED_FOR_S: Final = 2.0
_CLOSE_TIMEOUT_S: Final = 1.0


class Session(_Connection):
    """A connection that knows what is between it and the server.

    Attributes:
        begin: In transaction mode the statement by which each use of it has to begin, else empty.
        closes_at: Monotonic time in seconds after which it is closed instead of used again.
    """

    __slots__ = ("begin", "closes_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begin = ""
        self.closes_at = math.inf

    def transaction(self, **options: Any) -> Any:
        """Return a transaction, which in a block of `used` is a savepoint: that has begun one already."""
        if self.begin and self.is_in_transaction():
            return _Savepoint(self)
        return super().transaction(**options)


class Sessions:
    """Opens the sessions of one connection string.

    A pooler in transaction mode gives each transaction to any session of the server. So nothing may be left on one:
    settings are made in each transaction, and statements have no names, by which other clients call theirs.

    `auto` recognises a pooler by the process id of a new session, which is not that of the server's. Its mode
    cannot be asked, and tried only by leaving something behind; but what is right in transaction mode is right in
    session mode as well, and takes three round trips more. So that is what a recognised pooler gets.

    Args:
        url: A connection string, see `telemetry_app.postgres_url`.
        pooler: `transaction` or `session` where it is known; a URL with `pgbouncer=true` knows it too.
        settings: Made in each session or transaction, with values of our own.
    """

    def __init__(self, url: str, *, pooler: Pooler = "auto", settings: Mapping[str, str]) -> None:
        leave_out_foreign_variables()
        self._url = url
        self._pooler = pooler
        self._settings = settings
        self._recognised = False

    async def open(self, timeout_s: float) -> Session:
        """Open a session that the caller closes.

        Raises:
            PostgresUrlError: The connection string cannot be meant.
            OSError: Nobody answers at that address, or not in time.
            asyncpg.PostgresError: The server refuses.
        """
        url = parse(self._url)
        async with asyncio.timeout(url.connect_timeout_s or timeout_s):
            if not self._by_transaction(url):
                session = await self._connect(url, statements_kept=_STATEMENTS_KEPT)
                if await self._is_set_up(session, url):
                    if self._pooler == "session":
                        session.closes_at = time.monotonic() + _POOLED_FOR_S
                    return session
                self._recognised = True
                logger.info("a pooler is between us and Postgres: transactions take three round trips more")
            session = await self._connect(url, statements_kept=0)
            session.begin = f"BEGIN; SELECT {self._making_settings(url, only_here=True)}"
            if self._recognised:
                session.closes_at = time.monotonic() + _POOLED_FOR_S
            return session

    def _by_transaction(self, url: PostgresUrl) -> bool:
        if self._pooler == "auto":
            return self._recognised or url.transaction_pooler
        return self._pooler == "transaction"

    async def _is_set_up(self, session: Session, url: PostgresUrl) -> bool:
        """Make the settings, unless a pooler is found; then the session is closed, with nothing left behind."""
        direct = f" WHERE pg_backend_pid() = {session.get_server_pid()}" if self._pooler == "auto" else ""
        try:
            done = await session.execute(f"SELECT {self._making_settings(url, only_here=False)}{direct}")
        except BaseException:
            session.terminate()
            raise
        if done == "SELECT 1":
            return True
        await end_session(session)
        return False

    def _making_settings(self, url: PostgresUrl, *, only_here: bool) -> str:
        """Return expressions that make the settings: for the transaction, or for the session.

        Poolers refuse most settings as parameters of a start, and some swallow them.
        """
        # Values are ours, or were looked through: none has a quote or a backslash.
        scope = str(only_here).lower()
        settings = {**url.session, **self._settings}
        return ", ".join(f"set_config('{name}', '{value}', {scope})" for name, value in settings.items()) or "1"

    async def _connect(self, url: PostgresUrl, *, statements_kept: int) -> Session:
        session: Session = await asyncpg.connect(
            f"postgresql://?{urlencode(url.client)}" if url.client else None,
            host=list(url.hosts) or None,
            port=list(url.ports) or None,
            user=url.user,
            password=url.password,
            database=url.database,
            server_settings={"application_name": APPLICATION_NAME, **url.startup},
            statement_cache_size=statements_kept,
            connection_class=Session,
        )
        return session


def needs_transactions(connection: Any) -> bool:
    """Tell whether a pooler may give each transaction of a connection to another session of the server."""
    return bool(getattr(connection, "begin", ""))


@contextlib.asynccontextmanager
async def used(connection: Any) -> AsyncIterator[None]:
    """Use a session for the time of the block, in a transaction of its own where a pooler wants one.

    What the block did is stored when the block has ended without an error, not before.

    Raises:
        asyncpg.InFailedSQLTransactionError: The block caught an error of a statement, so nothing of it is stored.
    """
    if not needs_transactions(connection):
        yield
        return
    await connection.execute(connection.begin)
    try:
        yield
        # asyncpg looks up types that it does not know with compiling switched off, and leaves it so.
        await connection.execute("RESET jit; COMMIT")
    except UNUSABLE_AFTER:
        raise
    except BaseException:
        await _roll_back(connection)
        raise


class _Savepoint:
    """Stands in for a transaction of asyncpg's within one that a block of `used` has begun."""

    def __init__(self, connection: Session) -> None:
        self._connection = connection

    async def start(self) -> None:
        await self._connection.execute("SAVEPOINT within")

    async def commit(self) -> None:
        await self._connection.execute("RELEASE within")

    async def rollback(self) -> None:
        await self._connection.execute("ROLLBACK TO within; RELEASE within")

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is None:
            await self.commit()
        elif not issubclass(kind, UNUSABLE_AFTER) and not self._connection.is_closed():
            await self.rollback()


async def end_session(connection: asyncpg.Connection[Any]) -> None:
    """Close a session: what was done on it is done, whether or not the server answers the farewell in time."""
    with contextlib.suppress(*DATABASE_ERRORS):
        await connection.close(timeout=_CLOSE_TIMEOUT_S)


async def retire(connection: Any) -> None:
    """Close a session that should make way for other clients of a pooler, and no other."""
    # A pool that stops takes its connections from whoever still has one.
    if time.monotonic() > getattr(connection, "closes_at", math.inf):
        await end_session(connection)


async def _roll_back(connection: Any) -> None:
    try:
        await connection.execute("ROLLBACK")
    except DATABASE_ERRORS:
        # A pool takes a connection that is closed from whoever has it.
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.terminate()
