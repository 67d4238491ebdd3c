"""Locks of tables, taken without holding everybody else up."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg

from telemetry_app.database.backoff import Backoff
from telemetry_app.database.migration_files import MigrationBusyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_Result = TypeVar("_Result")

#: Whoever waits for an exclusive lock makes everybody wait who comes later, so nobody waits longer than this.
_LONGEST_WAIT_S: Final = 0.5
#: How long to go on trying.
_PATIENCE_S: Final = 60.0
_BACKOFF: Final = Backoff(first_s=0.2, longest_s=3.0)


async def patiently(
    connection: asyncpg.Connection[Any], work: Callable[[], Awaitable[_Result]], *, patience_s: float = _PATIENCE_S
) -> _Result:
    """Do some work in a transaction, which is repeated as long as somebody holds a lock that it needs.

    Raises:
        MigrationBusyError: The lock could not be had in time; nothing was changed.
    """
    deadline = time.monotonic() + patience_s
    failures = 0
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {round(_LONGEST_WAIT_S * 1000)}")
                return await work()
        except asyncpg.LockNotAvailableError as error:
            failures += 1
            wait_s = _BACKOFF.wait_s(failures)
            if time.monotonic() + wait_s > deadline:
                raise MigrationBusyError(
                    f"Other sessions have been using the table for {patience_s:g} s without a pause: "
                    "look for long transactions in pg_stat_activity, end them, and try again."
                ) from error
        await asyncio.sleep(wait_s)


async def take_advisory_lock(
    connection: asyncpg.Connection[Any], key: int, timeout_s: float, *, of_transaction: bool = False
) -> bool:
    """Take an advisory lock of the session, or of the transaction; return False when others hold it for all that time.

    It is asked for again and again: a session that waits in a statement has a snapshot, for which an index that is
    built concurrently would have to wait in turn.
    """
    deadline = time.monotonic() + timeout_s
    function = "pg_try_advisory_xact_lock" if of_transaction else "pg_try_advisory_lock"
    while not await connection.fetchval(f"SELECT {function}($1)", key):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(min(0.1, timeout_s))
    return True
