"""Marks of positions that are not to be shown, as operators set and remove them."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from telemetry_app.database.sessions import used

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

#: Longest wait for others' locks, of the table or of rows: a command that seems to hang tells nobody why.
_LOCK_WAIT_S: Final = 10.0
_FIND: Final = """
SELECT device_id, ts, latitude, longitude, satellites, faulty_reason AS reason, ingested_at
FROM positions
WHERE faulty AND ($1::text IS NULL OR device_id = $1) AND ts BETWEEN $2 AND $3
ORDER BY ts DESC
LIMIT $4
"""
_MARK: Final = """
UPDATE positions SET faulty = true, faulty_reason = $4
WHERE device_id = $1 AND ts BETWEEN $2 AND $3 AND NOT faulty
"""
_UNMARK: Final = """
UPDATE positions SET faulty = false, faulty_reason = NULL
WHERE device_id = $1 AND ts BETWEEN $2 AND $3 AND faulty AND ($4::text IS NULL OR faulty_reason = $4)
"""


class Span(NamedTuple):
    """Positions of a device from one timestamp to another, both included."""

    device_id: str
    first: datetime
    last: datetime


async def find(
    connection: asyncpg.Connection[Any], device_id: str | None, first: datetime, last: datetime, *, most: int
) -> list[dict[str, Any]]:
    """Return the newest faulty positions from one timestamp to another, of one device or of all.

    Raises:
        asyncpg.PostgresError: The server refuses.
    """
    async with _unless_locked(connection):
        return [dict(row) for row in await connection.fetch(_FIND, device_id, first, last, most)]


async def mark(connection: asyncpg.Connection[Any], span: Span, reason: str) -> int:
    """Mark positions as faulty; return how many were not yet.

    Raises:
        asyncpg.PostgresError: The server refuses.
    """
    async with _unless_locked(connection):
        return _rows(await connection.execute(_MARK, *span, reason))


async def unmark(connection: asyncpg.Connection[Any], span: Span, reason: str | None) -> int:
    """Let positions be shown again, those marked for a reason or, with None, all; return how many were not.

    Raises:
        asyncpg.PostgresError: The server refuses.
    """
    async with _unless_locked(connection):
        return _rows(await connection.execute(_UNMARK, *span, reason))


@contextlib.asynccontextmanager
async def _unless_locked(connection: asyncpg.Connection[Any]) -> AsyncIterator[None]:
    """Use a connection for the time of the block, in which nothing waits long for a lock."""
    async with used(connection), connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {round(_LOCK_WAIT_S * 1000)}")
        yield


def _rows(status: str) -> int:
    return int(status.rpartition(" ")[2])
