"""Old positions, dropped by chunk where the table is a hypertable, else deleted in batches."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from telemetry_app.database.indexes import is_hypertable
from telemetry_app.database.locks import patiently
from telemetry_app.database.sessions import used

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

#: Rows of one DELETE: its locks are short, and little is done again when it breaks off.
_AT_ONCE: Final = 10_000
#: Less than this is more likely a slip than meant: trackers that were out of reach upload the records of days.
SHORTEST: Final = timedelta(days=1)

_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_AGE: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")

_BEFORE: Final = "SELECT now() - $1::interval"
# A chunk goes when none of its range is young enough to stay.
_ENDS_OF_CHUNKS: Final = """
SELECT DISTINCT range_end
FROM timescaledb_information.chunks
JOIN pg_class c ON c.oid = to_regclass('positions') AND c.relname = hypertable_name
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = hypertable_schema
WHERE range_end <= $1
ORDER BY range_end
"""
_DROP_CHUNKS: Final = "SELECT count(*) FROM {schema}.drop_chunks('positions', older_than => $1::timestamptz)"
_TIMESCALE_SCHEMA: Final = """
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'timescaledb'
"""
# By place, which takes the index on ts once for each batch and none for the deletion itself.
_DELETE: Final = """
DELETE FROM positions
WHERE ctid = ANY (ARRAY(SELECT ctid FROM positions WHERE ts < $1 ORDER BY ts LIMIT $2)) AND ts < $1
"""


class NoTableError(Exception):
    """There is no table `positions` to remove anything from; the message says where one comes from."""


@dataclass(frozen=True, slots=True)
class Old:
    """What is older than the limit: chunks of a hypertable, which go whole, or rows of an ordinary table.

    Attributes:
        before: The limit, by the server's clock.
        kind: What is counted.
        number: How many of them are older.
    """

    before: datetime
    kind: Literal["chunk", "row"]
    number: int

    def __str__(self) -> str:
        """Return what it is in words."""
        plural = "" if self.number == 1 else "s"
        return f"{self.number:,} {self.kind}{plural} of positions older than {self.before:%Y-%m-%d %H:%M:%S %Z}"


def age_of(text: str) -> timedelta:
    """Read an age such as `36h`, `400d` or `26w`.

    Raises:
        ValueError: It is not written so.
    """
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an age: write a whole number and h, d or w, such as 36h, 400d or 26w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


async def find_old(connection: asyncpg.Connection[Any], age: timedelta) -> Old:
    """Return what `remove` would remove.

    Raises:
        NoTableError: There is no table.
        asyncpg.PostgresError: The server refuses.
    """
    async with used(connection):
        if not await connection.fetchval("SELECT to_regclass('positions') IS NOT NULL"):
            raise NoTableError("There is no table positions: `telemetry migrate` makes it.")
        before = await connection.fetchval(_BEFORE, age)
        if await is_hypertable(connection):
            return Old(before, "chunk", len(await connection.fetch(_ENDS_OF_CHUNKS, before)))
        return Old(before, "row", await connection.fetchval("SELECT count(*) FROM positions WHERE ts < $1", before))


async def remove(connection: asyncpg.Connection[Any], old: Old, progress: Callable[[int], None]) -> Old:
    """Remove what was found to be old, the oldest first, and return what went.

    A hypertable loses chunks one by one, an ordinary table rows in batches, each in a transaction of its own: breaking
    off does no harm, and the next call goes on.

    Args:
        connection: Outside a transaction.
        old: What `find_old` has returned.
        progress: Told after each step how many chunks or rows are gone.

    Raises:
        MigrationBusyError: Others hold a lock on the table for too long.
        asyncpg.PostgresError: The server refuses.
    """
    steps = _drop_chunks(connection, old.before) if old.kind == "chunk" else _delete_rows(connection, old.before)
    removed = 0
    async for number in steps:
        removed += number
        progress(removed)
    return replace(old, number=removed)


async def _drop_chunks(connection: asyncpg.Connection[Any], before: datetime) -> AsyncIterator[int]:
    async with used(connection):
        drop = _DROP_CHUNKS.format(schema=await connection.fetchval(_TIMESCALE_SCHEMA))
        ends = [row["range_end"] for row in await connection.fetch(_ENDS_OF_CHUNKS, before)]
    for end in ends:
        # One at a time: each needs locks of its own, of which a server has a certain number.
        yield await patiently(connection, partial(connection.fetchval, drop, end))


async def _delete_rows(connection: asyncpg.Connection[Any], before: datetime) -> AsyncIterator[int]:
    deleted = 1
    while deleted:
        async with used(connection):
            deleted = int((await connection.execute(_DELETE, before, _AT_ONCE)).rpartition(" ")[2])
        yield deleted
