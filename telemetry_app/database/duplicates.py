"""Rows of one device and time in a table that an earlier deployment made without a unique index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from telemetry_app.database.indexes import has_unique_index

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

#: Rows of one DELETE: its locks are short, and little is done again when it breaks off.
_AT_ONCE: Final = 5000

_COLUMNS: Final = """
SELECT array_agg(attname::text) FROM pg_attribute
WHERE attrelid = to_regclass('positions') AND attnum > 0 AND NOT attisdropped
"""
# One pass over the table finds all of them. `relation` is the table itself, or the chunk or partition.
_FIND: Final = """
CREATE TEMPORARY TABLE duplicate_positions AS
SELECT row_number() OVER (ORDER BY relation, place) AS number, relation, place, device_id, ts
FROM (
    SELECT tableoid AS relation, ctid AS place, device_id, ts,
           row_number() OVER (PARTITION BY device_id, ts ORDER BY {first}) AS place_among_equals
    FROM positions
    WHERE device_id IS NOT NULL AND ts IS NOT NULL
) AS rows
WHERE place_among_equals > 1
"""
_BY_AGE: Final = "ingested_at NULLS LAST, tableoid, ctid"
_BY_PLACE: Final = "tableoid, ctid"
_RELATIONS: Final = """
SELECT DISTINCT relation, relation::regclass::text AS name FROM duplicate_positions WHERE number BETWEEN $1 AND $2
"""
# By place, which needs no index. Somebody may have put another row there since, so the key has to be the same.
_DELETE: Final = """
DELETE FROM {relation} AS row
WHERE row.ctid = ANY (ARRAY(SELECT place FROM duplicate_positions WHERE number BETWEEN $1 AND $2 AND relation = $3))
  AND EXISTS (SELECT FROM duplicate_positions d
              WHERE d.number BETWEEN $1 AND $2 AND d.place = row.ctid AND d.device_id = row.device_id AND d.ts = row.ts)
"""


async def remove(connection: asyncpg.Connection[Any], progress: Callable[[int, int], None]) -> int:
    """Remove all rows but the first of each device and time, and return how many those were.

    The first is the one with the least `ingested_at`; without that column, the one that stands first in the table.

    Args:
        connection: Outside a transaction; each batch is one of its own.
        progress: Told how many are removed, and of how many.
    """
    columns = await connection.fetchval(_COLUMNS)
    if columns is None or await has_unique_index(connection):
        return 0
    await connection.execute(_FIND.format(first=_BY_AGE if "ingested_at" in columns else _BY_PLACE))
    try:
        await connection.execute("CREATE INDEX ON duplicate_positions (number); ANALYZE duplicate_positions")
        total: int = await connection.fetchval("SELECT count(*) FROM duplicate_positions")
        removed = 0
        for first in range(1, total + 1, _AT_ONCE):
            removed += await _remove_batch(connection, first, first + _AT_ONCE - 1)
            progress(removed, total)
        return removed
    finally:
        if not connection.is_closed():
            await connection.execute("DROP TABLE duplicate_positions")


async def _remove_batch(connection: asyncpg.Connection[Any], first: int, last: int) -> int:
    removed = 0
    for relation, name in await connection.fetch(_RELATIONS, first, last):
        # The name is the server's own spelling of its own table, quoted where it has to be.
        deleted = await connection.execute(_DELETE.format(relation=name), first, last, relation)
        removed += int(deleted.rpartition(" ")[2])
    return removed
