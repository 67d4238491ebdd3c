"""Numbered SQL files, each applied once and in order, whoever else starts at the same moment."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from telemetry_app.database import duplicates, indexes
from telemetry_app.database.indexes import DuplicatesError
from telemetry_app.database.locks import patiently, take_advisory_lock
from telemetry_app.database.migration_files import (
    Applied,
    DriftError,
    Migration,
    MigrationBusyError,
    MigrationError,
    MigrationStatus,
    compare,
    load,
    pending_of,
)
from telemetry_app.database.postgres import connect
from telemetry_app.database.sessions import end_session, needs_transactions, used

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.resources.abc import Traversable

    from telemetry_app.database.sessions import Pooler

__all__ = [
    "LOCK_KEY",
    "DriftError",
    "DuplicatesError",
    "MigrationBusyError",
    "MigrationError",
    "MigrationStatus",
    "migrate",
    "remove_duplicates",
    "status",
]

logger = logging.getLogger(__name__)


LOCK_TIMEOUT_S: Final = 60.0
#: Key of the advisory lock: any number will do, as long as nothing else in the database uses it.
LOCK_KEY: Final = 0x74656C656D  # "telem"

_NEEDS_A_SESSION: Final = (
    "that needs a session of the server, which a pooler does not give for sure, so run `telemetry migrate` once "
    "with a POSTGRES_URL that names the database itself instead of the pooler "
    "(or with POSTGRES_POOLER=session where the pooler is in session mode)."
)
# Building an index on a large table may take longer than any limit meant for ordinary work. Not every server has all.
_SET_LIMITS: Final = (
    "SELECT set_config(name, {}, false) FROM pg_settings WHERE name IN "
    "('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')"
)
_CREATE_HISTORY: Final = """
CREATE TABLE schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


async def migrate(
    target: str | asyncpg.Connection[Any],
    *,
    pooler: Pooler = "auto",
    folder: Traversable | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> list[str]:
    """Apply every pending migration, each in a transaction of its own.

    A table `positions` that is there already first gets the indexes that it lacks, outside a transaction, so that those
    who write to it are not stopped. No migration waits long for a lock: whoever comes after it would wait as well.

    Args:
        target: URL of the database, or a connection to use and leave open.
        pooler: What is between us and the server, see `Sessions`.
        folder: Where the files are; by default those of this release.
        lock_timeout_s: How long to wait for somebody else who is migrating.

    Returns:
        The names of the files applied by this call, in order.

    Raises:
        DriftError: A file was changed or is missing since it was applied, or the database is newer than the files.
        DuplicatesError: The table that is there has several rows of one device and time.
        MigrationError: The files are not numbered 1, 2, 3…, or a file failed; `MigrationBusyError` when
            somebody else holds the lock.
        OSError: Nobody answers at that address.
        asyncpg.PostgresError: The server refuses the connection.
    """
    migrations = load(folder)
    async with _connection(target, pooler) as connection, _notices_logged(connection):
        if needs_transactions(connection):
            own = folder is None
            return [name async for name in _migrate_in_turns(connection, migrations, lock_timeout_s, own_files=own)]
        async with _locked(connection, lock_timeout_s):
            pending = await _pending(connection, migrations)
            if folder is None:
                await indexes.prepare(connection)
            for migration in pending:
                await _apply(connection, migration)
    return [migration.file_name for migration in pending]


async def _migrate_in_turns(
    connection: asyncpg.Connection[Any], migrations: Sequence[Migration], lock_timeout_s: float, *, own_files: bool
) -> AsyncIterator[str]:
    """Migrate behind a pooler, where a lock lasts no longer than a transaction: each applies one file."""
    while True:
        async with used(connection):
            await connection.execute("SET LOCAL statement_timeout = 0")
            if not await take_advisory_lock(connection, LOCK_KEY, lock_timeout_s, of_transaction=True):
                raise _busy(lock_timeout_s)
            pending = await _pending(connection, migrations)
            if own_files and await indexes.are_missing(connection):
                raise MigrationError(f"The table positions that is there lacks an index: {_NEEDS_A_SESSION}")
            if not pending:
                return
            await _apply(connection, pending[0])
        yield pending[0].file_name


async def _pending(connection: asyncpg.Connection[Any], migrations: Sequence[Migration]) -> Sequence[Migration]:
    if not await _has_history(connection):
        await connection.execute(_CREATE_HISTORY)
    return pending_of(migrations, await _history(connection))


async def remove_duplicates(
    target: str | asyncpg.Connection[Any],
    *,
    pooler: Pooler = "auto",
    progress: Callable[[int, int], None] = lambda _removed, _total: None,
) -> int:
    """Remove all rows of the table `positions` but the first of each device and time; return how many those were.

    Args:
        target: URL of the database, or a connection to use and leave open.
        pooler: What is between us and the server, see `Sessions`.
        progress: Told after each batch how many are removed, and of how many.

    Raises:
        MigrationError: A pooler is between; `MigrationBusyError` when somebody else is migrating.
        OSError: Nobody answers at that address.
        asyncpg.PostgresError: The server refuses.
    """
    async with _connection(target, pooler) as connection:
        if needs_transactions(connection):
            raise MigrationError(f"Duplicates were not looked for: {_NEEDS_A_SESSION}")
        async with _locked(connection, LOCK_TIMEOUT_S):
            return await duplicates.remove(connection, progress)


async def status(
    target: str | asyncpg.Connection[Any], *, pooler: Pooler = "auto", folder: Traversable | None = None
) -> list[MigrationStatus]:
    """Return how each migration stands, by version; changes nothing and waits for no lock."""
    migrations = load(folder)
    async with _connection(target, pooler, attempts=1) as connection, used(connection):
        return compare(migrations, await _history(connection))


async def _history(connection: asyncpg.Connection[Any]) -> list[Applied]:
    if not await _has_history(connection):
        return []
    rows = await connection.fetch("SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version")
    return [Applied(*row) for row in rows]


async def _has_history(connection: asyncpg.Connection[Any]) -> bool:
    return await connection.fetchval("SELECT to_regclass('schema_migrations')") is not None


async def _apply(connection: asyncpg.Connection[Any], migration: Migration) -> None:
    async def apply() -> None:
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )

    try:
        await patiently(connection, apply)
    except asyncpg.PostgresError as error:
        if connection.is_closed():
            # The server went away: nobody's mistake, and worth another try.
            raise
        raise MigrationError(
            f"{migration.file_name} failed and was rolled back ({error.sqlstate}: {error}): "
            "fix the cause and migrate again."
        ) from error
    logger.info("migration %s applied", migration.file_name)


@contextlib.asynccontextmanager
async def _connection(
    target: str | asyncpg.Connection[Any], pooler: Pooler, *, attempts: int | None = None
) -> AsyncIterator[asyncpg.Connection[Any]]:
    if not isinstance(target, str):
        yield target
        return
    connection = await connect(target, pooler=pooler, attempts=attempts)
    try:
        yield connection
    finally:
        await end_session(connection)


@contextlib.asynccontextmanager
async def _locked(connection: asyncpg.Connection[Any], timeout_s: float) -> AsyncIterator[None]:
    """Hold the lock that lets one session migrate at a time; the server frees it when the session ends."""
    if not await take_advisory_lock(connection, LOCK_KEY, timeout_s):
        raise _busy(timeout_s)
    await connection.execute(_SET_LIMITS.format("'0'"))
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(f"SELECT pg_advisory_unlock({LOCK_KEY}); {_SET_LIMITS.format('reset_val')}")


def _busy(timeout_s: float) -> MigrationBusyError:
    return MigrationBusyError(
        f"Another session has been migrating this database for more than {timeout_s:g} s: "
        "wait until it is done, or end it, and try again."
    )


@contextlib.asynccontextmanager
async def _notices_logged(connection: asyncpg.Connection[Any]) -> AsyncIterator[None]:
    def log(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
        logger.info("%s", message.as_dict()["message"])

    connection.add_log_listener(log)
    try:
        yield
    finally:
        connection.remove_log_listener(log)
