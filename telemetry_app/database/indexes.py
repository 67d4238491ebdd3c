"""The indexes of `positions`, built without stopping those who write to it where the database can do that."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from telemetry_app.database.locks import patiently
from telemetry_app.database.migration_files import MigrationBusyError, MigrationError

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

UNIQUE_NAME: Final = "positions_device_ts_idx"
#: Where an earlier deployment gave that name to another index.
OTHER_UNIQUE_NAME: Final = "positions_device_ts_key"
TS_NAME: Final = "positions_ts_idx"

DUPLICATES_QUERY: Final = "SELECT device_id, ts, count(*) FROM positions GROUP BY device_id, ts HAVING count(*) > 1"

# A table that lacks columns is for the migration to refuse.
_TABLE: Final = """
SELECT c.relkind = 'r' AS is_ordinary, greatest(c.reltuples, 0)::int8 AS rows
FROM pg_class c
WHERE c.oid = to_regclass('positions')
  AND (SELECT count(*) FROM pg_attribute a
       WHERE a.attrelid = c.oid AND NOT a.attisdropped
         AND a.attname = ANY (ARRAY['device_id', 'ts', 'latitude', 'longitude', 'altitude', 'angle', 'speed',
                                    'satellites', 'priority', 'codec', 'attributes'])) = 11
"""
_HAS_TIMESCALE: Final = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
_IS_HYPERTABLE: Final = """
SELECT EXISTS (SELECT FROM timescaledb_information.hypertables h
               JOIN pg_class c ON c.oid = to_regclass('positions') AND c.relname = h.hypertable_name
               JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = h.hypertable_schema)
"""
_INDEXES: Final = """
SELECT i.indexrelid::regclass::text AS name, i.indisvalid AS is_valid, i.indisunique AS is_unique,
       EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) AS is_being_built,
       ARRAY(SELECT a.attname::text
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS key (attnum, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.attnum
             WHERE key.place <= i.indnkeyatts
             ORDER BY key.place) AS columns
FROM pg_index i
WHERE i.indrelid = to_regclass('positions') AND i.indpred IS NULL AND i.indexprs IS NULL
"""


class DuplicatesError(MigrationError):
    """The table holds several rows of one device and time; the message says how to see and how to remove them."""

    def __init__(self, error: asyncpg.UniqueViolationError) -> None:
        # Readiness shows some 300 characters: what to do goes first, the example last.
        super().__init__(
            "The table positions holds several rows of one device_id and ts, which must be unique: "
            f"`telemetry migrate --remove-duplicates` keeps the first of each, `{DUPLICATES_QUERY}` shows them"
            + (f". {error.detail}" if error.detail else ".")
        )


@dataclass(frozen=True, slots=True)
class _Index:
    name: str
    is_valid: bool
    is_unique: bool
    is_being_built: bool
    columns: list[str]

    @property
    def is_ours(self) -> bool:
        """Whether it would serve, were it valid: ON CONFLICT, or reads by time."""
        return self.is_key or self.columns[:1] == ["ts"]

    @property
    def is_key(self) -> bool:
        return self.is_unique and set(self.columns) == {"device_id", "ts"}


async def is_hypertable(connection: asyncpg.Connection[Any]) -> bool:
    """Tell whether the table is one of TimescaleDB's."""
    answer: bool = await connection.fetchval(_HAS_TIMESCALE) and await connection.fetchval(_IS_HYPERTABLE)
    return answer


async def has_unique_index(connection: asyncpg.Connection[Any]) -> bool:
    """Tell whether the table is there with a unique index on device and time."""
    return any(index.is_key and index.is_valid for index in await _indexes(connection))


async def are_missing(connection: asyncpg.Connection[Any]) -> bool:
    """Tell whether there is a table that lacks an index."""
    found = [index for index in await _indexes(connection) if index.is_valid]
    has_both = any(index.is_key for index in found) and any(index.columns[:1] == ["ts"] for index in found)
    return not has_both and await connection.fetchrow(_TABLE) is not None


async def prepare(connection: asyncpg.Connection[Any]) -> None:
    """Give a table that is there already the indexes that it lacks; without a table, do nothing.

    An ordinary table is indexed while others write to it. A hypertable can have a unique index only in one piece, in
    which time nobody can write. What is left of a build that broke off is dropped first.

    Raises:
        DuplicatesError: Rows of one device and time forbid it.
        MigrationBusyError: Somebody else is building one.
        asyncpg.PostgresError: The server refuses it.
    """
    table = await connection.fetchrow(_TABLE)
    if table is None:
        return
    concurrently = table["is_ordinary"] and not await is_hypertable(connection)
    indexes = await _indexes(connection)
    for index in _broken(indexes):
        logger.warning("the index %s is what is left of a build that broke off, and is built again", index.name)
        await connection.execute(f"DROP INDEX CONCURRENTLY {index.name}")
    names = {index.name for index in indexes if index.is_valid}
    if not any(index.is_key and index.is_valid for index in indexes):
        name = OTHER_UNIQUE_NAME if UNIQUE_NAME in names else UNIQUE_NAME
        await _build(connection, f"UNIQUE INDEX {name}", "(device_id, ts DESC)", table["rows"], concurrently)
    if not any(index.columns[:1] == ["ts"] and index.is_valid for index in indexes):
        await _build(connection, f"INDEX {TS_NAME}", "(ts DESC)", table["rows"], concurrently)


async def _indexes(connection: asyncpg.Connection[Any]) -> list[_Index]:
    return [_Index(*row) for row in await connection.fetch(_INDEXES)]


def _broken(indexes: Iterable[_Index]) -> list[_Index]:
    """Return what is left of builds that broke off.

    Raises:
        MigrationBusyError: One of them is being built at this moment.
    """
    broken = [index for index in indexes if index.is_ours and not index.is_valid]
    for index in broken:
        if index.is_being_built:
            raise MigrationBusyError(f"Another session is building the index {index.name}: wait until it is done.")
    return broken


async def _build(
    connection: asyncpg.Connection[Any],
    index: str,
    columns: str,
    rows: int,
    concurrently: bool,  # noqa: FBT001
) -> None:
    """Build an index; one that cannot be unique leaves nothing behind."""
    logger.info(
        "building an index on %s of positions, about %s rows; %s",
        columns,
        f"{rows:,}",
        "others go on writing meanwhile" if concurrently else "NOBODY can write to the table meanwhile",
    )
    try:
        if concurrently:
            await connection.execute(f"CREATE {index.replace('INDEX', 'INDEX CONCURRENTLY')} ON positions {columns}")
        else:
            await patiently(connection, lambda: connection.execute(f"CREATE {index} ON positions {columns}"))
    except asyncpg.UniqueViolationError as error:
        for left in _broken(await _indexes(connection)):
            await connection.execute(f"DROP INDEX CONCURRENTLY {left.name}")
        raise DuplicatesError(error) from error
