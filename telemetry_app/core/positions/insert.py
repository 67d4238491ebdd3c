"""The one statement that stores positions, and what its errors mean for the rows."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg

from telemetry_app.core.positions.rows import COLUMN_NAMES
from telemetry_app.database.errors import Outlook, meaning_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from telemetry_app.core.positions.rows import Columns, DoubtColumns

# Of the forms measured (60,000 rows of 490 bytes, batches of 1,000) this one is the fastest for the server and the
# cheapest for the client: the arrays as text and float8 instead of jsonb and timestamptz, and only the number of
# stored rows sent back instead of their keys, take 30 % off the client's CPU. unnest keeps the order of the arrays,
# so of two rows with one key the first is stored.
INSERT_POSITIONS: Final = """
WITH stored AS (
    INSERT INTO positions (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority, codec,
                           attributes)
    SELECT device_id, to_timestamp(ts), latitude, longitude, altitude, angle, speed, satellites, priority, codec,
           attributes::jsonb
    FROM unnest($1::text[], $2::float8[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[],
                $8::int2[], $9::int2[], $10::text[], $11::text[])
      AS row (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority, codec, attributes)
    ON CONFLICT (device_id, ts) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM stored
"""
# The same for rows of which some are in doubt. Such a row was ingested when it was appended, so that the smaller of ts
# and ingested_at is its effective time (see `records.quality`).
INSERT_DOUBTED: Final = """
INSERT INTO positions (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority, codec,
                       attributes, ingested_at, faulty, faulty_reason)
SELECT device_id, to_timestamp(ts), latitude, longitude, altitude, angle, speed, satellites, priority, codec,
       attributes::jsonb, coalesce(to_timestamp(appended), now()), reason IS NOT NULL, reason
FROM unnest($1::text[], $2::float8[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[],
            $8::int2[], $9::int2[], $10::text[], $11::text[], $12::float8[], $13::text[])
  AS row (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority, codec, attributes, appended,
          reason)
ON CONFLICT (device_id, ts) DO NOTHING
RETURNING device_id, faulty_reason
"""

LONGEST_REASON: Final = 200
# asyncpg says "query argument $8", the server "unnamed portal parameter $1" or "bind parameter 1".
_ARGUMENT: Final = re.compile(r"(?:argument|parameter) \$?(\d+)")
_CONVERTED: Final = {"22003": "attributes", "22008": "ts"}
_LAST_PARENTHESIS: Final = re.compile(r"\(([^()]*)\)$")


class RowsRefusedError(Exception):
    """The database refuses at least one row of the statement and has stored none; the message is the reason."""

    #: A data exception, which is what it is where nobody knows better.
    sqlstate: Final = "22000"


class Stored(NamedTuple):
    """What a statement has stored.

    Attributes:
        rows: How many are new; the others were there already, or twice among those given.
        faulty: Device and reason of each new one that is faulty.
    """

    rows: int
    faulty: Sequence[tuple[str, str]] = ()


async def insert(
    connection: PoolConnectionProxy[Any],
    rows: Columns,
    doubts: DoubtColumns | None = None,
    *,
    within_s: float | None = None,
) -> Stored:
    """Store rows.

    Args:
        connection: Where to.
        rows: As `columns` makes them.
        doubts: As `doubt_columns` makes them, if something speaks against any of the rows.
        within_s: How long it may take, if less than the server allows.

    Raises:
        RowsRefusedError: At least one row is to blame.
        asyncpg.PostgresError: The server failed, or refuses whatever the rows are.
        OSError: The connection is lost.
    """
    try:
        async with asyncio.timeout(within_s):
            if doubts is None:
                return Stored(await connection.fetchval(INSERT_POSITIONS, *rows))
            new = await connection.fetch(INSERT_DOUBTED, *rows, *doubts)
    except TimeoutError as error:
        raise asyncpg.QueryCanceledError(f"no answer within {within_s:g} s") from error
    except asyncpg.PostgresError as error:
        if meaning_of(error).outlook is Outlook.REFUSED:
            raise RowsRefusedError(reason_of(error)) from error
        raise
    return Stored(len(new), [(device_id, reason) for device_id, reason in new if reason])


def reason_of(error: Exception) -> str:
    """Return why a row is refused, led by the column's name where it is known, in at most 200 characters."""
    text = " ".join(str(error).split())
    column = _column_of(error)
    if "query argument" in text and (detail := _LAST_PARENTHESIS.search(text)):
        text = detail[1]
    elif detail_text := getattr(error, "detail", None):
        text = f"{text.split(' DETAIL: ')[0]} ({detail_text})"
    # A NUL in the reason would make the dead letter itself hard to read.
    reason = (f"{column}: {text}" if column else text).replace("\x00", "\\0")
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 1]}…"


def _column_of(error: Exception) -> str | None:
    named: str | None = getattr(error, "column_name", None)
    if named:
        return named
    context = getattr(error, "context", None) or ""
    if match := _ARGUMENT.search(f"{context} {error}"):
        return COLUMN_NAMES[int(match[1]) - 1] if 1 <= int(match[1]) <= len(COLUMN_NAMES) else None
    # What the server itself converts: only attributes are read as JSON, only their numbers are of the numeric type.
    if context.startswith("JSON data"):
        return "attributes"
    return _CONVERTED.get(getattr(error, "sqlstate", None) or "")
