"""Reading the table of positions backwards in time: one read of the index per device and window."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_left
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.outage import Outage
from telemetry_app.live.ports import PastUnavailableError
from telemetry_app.live.wire.past import Past, Track

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from asyncpg.pool import PoolConnectionProxy

    from telemetry_app.database.postgres import Postgres
    from telemetry_app.live.wire.past import Window

logger = logging.getLogger(__name__)

# Each device's rows come from the unique index (device_id, ts DESC) in order, and no further than the limit. Without
# ANY the device is a constant, which leaves an order by ts alone: the planner might walk the index on ts, which has the
# rows of all devices. BETWEEN leaves out NULL and NaN.
_OF_DEVICE: Final = """
    SELECT device_id, ts, round(date_part('epoch', ts) * 1000)::bigint AS ms, latitude, longitude,
           coalesce(speed, 0) AS speed, coalesce(angle, 0) AS angle
    FROM positions
    WHERE positions.device_id = ANY (ARRAY[d.device_id]) AND ts >= $2 AND ts < $3 AND NOT faulty
      AND latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180
"""
_BY_COLUMN: Final = """
SELECT d.device_id, p.*
FROM unnest($1::text[]) AS d (device_id)
CROSS JOIN LATERAL (
    SELECT array_agg(ms) AS ts, array_agg(latitude) AS lat, array_agg(longitude) AS lon, array_agg(speed) AS speed,
           array_agg(angle) AS course
    FROM ({kept}) AS kept
) AS p
WHERE p.ts IS NOT NULL
"""
_ALL: Final = _BY_COLUMN.format(kept=f"{_OF_DEVICE} ORDER BY device_id DESC, ts LIMIT $4")
_NEWEST: Final = _BY_COLUMN.format(
    kept=f"SELECT * FROM ({_OF_DEVICE} ORDER BY device_id, ts DESC LIMIT $4) AS newest ORDER BY ts"  # noqa: S608 - of constants
)
# Rows that are in another interval than the one before are kept: comparing neighbours needs no sort, and is far quicker
# than a look into the index for each interval.
_THINNED: Final = _BY_COLUMN.format(
    kept=f"""
    SELECT *
    FROM (
        SELECT *, ms / $5::bigint AS part, lag(ms / $5::bigint) OVER (ORDER BY device_id DESC, ts) AS part_before
        FROM ({_OF_DEVICE}) AS good
    ) AS placed
    WHERE part IS DISTINCT FROM part_before
    LIMIT $4
    """  # noqa: S608 - of constants
)
# Hours in which any of the devices sent something, each known by its first hit; then where the last run of them begins.
_EXTENT: Final = f"""
WITH active AS (
    SELECT hour, hour - lag(hour) OVER (ORDER BY hour) AS after
    FROM generate_series(date_trunc('hour', $2::timestamptz), $3, interval '1 hour') AS hour
    WHERE EXISTS (
        SELECT
        FROM unnest($1::text[]) AS d (device_id)
        CROSS JOIN LATERAL (
            SELECT
            FROM positions
            WHERE positions.device_id = d.device_id AND ts >= greatest(hour, $2)
              AND ts < least(hour + interval '1 hour', $3) AND NOT faulty
            LIMIT 1
        ) AS one
    )
), run AS (
    SELECT max(hour) AS first FROM active WHERE after IS NULL OR after > $4
)
SELECT min(oldest.ms), max(newest.ms)
FROM run
CROSS JOIN unnest($1::text[]) AS d (device_id)
CROSS JOIN LATERAL ({_OF_DEVICE} AND ts >= run.first ORDER BY device_id DESC, ts LIMIT 1) AS oldest
CROSS JOIN LATERAL ({_OF_DEVICE} AND ts >= run.first ORDER BY device_id, ts DESC LIMIT 1) AS newest
"""  # noqa: S608 - of constants
#: An event that begins earlier is shown from here on.
_LONGEST_EVENT: Final = timedelta(days=7)
#: A longer silence of all devices, more than a night, is between two events.
_BETWEEN_EVENTS: Final = timedelta(hours=18)
#: Most positions of one answer, about 2.5 MB of JSON: 200 devices for four minutes at 1 Hz.
MAX_POSITIONS: Final = 50_000
#: Least positions of each device before an answer is cut.
_MIN_OF_DEVICE: Final = 5
#: Reads at a time.
AT_A_TIME: Final = 1
#: Waiting longer than this for another read to end means that too many ask.
_WAIT_S: Final = 5.0
#: How many may wait.
_MAX_WAITING: Final = 16
#: Time of one read, which also the server keeps (see `assembly`).
READ_S: Final = 5.0
#: How long asking the server to end a statement may take; else the server's own limit ends it.
_CANCEL_S: Final = 1.0


class PastPositions:
    """Reads what the table `positions` has of a window.

    Args:
        postgres: Connections of its own, whose number bounds the reads at a time: neither storing nor showing live
            positions ever waits for one. Each rests for as long as it was busy, which leaves the database time.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._asking = 0
        self._free = asyncio.Semaphore(AT_A_TIME)
        self._outage = Outage(logger, "reading past positions")

    async def read(self, device_ids: Collection[str], window: Window) -> Past:
        """Return the positions of devices in a window; cancelling it ends the statement.

        Raises:
            PastUnavailableError: Too many ask, or the database cannot be read.
        """
        limit = max(MAX_POSITIONS // max(len(device_ids), 1), _MIN_OF_DEVICE)
        arguments = (sorted(device_ids), window.first, window.end)
        if window.newest:
            rows = await self._fetch(_NEWEST, *arguments, min(window.newest, limit))
            return Past(window.event, window.first_ms, window.end_ms, 0, _tracks(rows, window.end_ms))
        if window.step_ms:
            rows = await self._fetch(_THINNED, *arguments, limit + 1, window.step_ms)
        else:
            rows = await self._fetch(_ALL, *arguments, limit + 1)
        step_ms = max(window.step_ms, 1)
        # Whoever has more positions than the limit has them up to there: that is how far the answer is whole.
        cuts = [row["ts"][limit] // step_ms * step_ms for row in rows if len(row["ts"]) > limit]
        end_ms = max(min(cuts), window.first_ms + 1) if cuts else window.end_ms
        answer = (window.event, window.first_ms, end_ms, window.step_ms, _tracks(rows, end_ms))
        return Past(*answer, next_ms=end_ms) if cuts else Past(*answer)

    async def extent(self, device_ids: Collection[str], until: datetime) -> tuple[int, int] | None:
        """Return the times of the first and the last position of the event that devices are in, or were in last.

        Returns:
            Both in epoch ms; None without a position in the week before `until`.

        Raises:
            PastUnavailableError: Too many ask, or the database cannot be read.
        """
        earliest = until - _LONGEST_EVENT
        ((first_ms, last_ms),) = await self._fetch(_EXTENT, sorted(device_ids), earliest, until, _BETWEEN_EVENTS)
        return None if first_ms is None else (first_ms, last_ms)

    async def _fetch(self, statement: str, *arguments: Any) -> list[Any]:
        if self._asking >= _MAX_WAITING:
            raise PastUnavailableError("busy")
        self._asking += 1
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._free.acquire()
            started_at = loop.time()
            try:
                async with asyncio.timeout(2 * READ_S), self._postgres.acquire(timeout_s=READ_S) as connection:
                    rows = await _fetch_or_cancel(connection, statement, *arguments)
            finally:
                loop.call_later(loop.time() - started_at, self._free.release)
        except (TimeoutError, asyncpg.QueryCanceledError) as error:
            raise PastUnavailableError("busy") from error
        except DATABASE_ERRORS as error:
            self._outage.failed(describe(error))
            raise PastUnavailableError("error") from error
        finally:
            self._asking -= 1
        self._outage.over()
        return rows


async def _fetch_or_cancel(connection: PoolConnectionProxy[Any], statement: str, *arguments: Any) -> list[Any]:
    """Return the rows; when cancelled, leave the connection only after the server has ended the statement."""
    try:
        rows: list[Any] = await connection.fetch(statement, *arguments)
    except asyncio.CancelledError:
        # The pool drops the connection at once, and with it the request to cancel that asyncpg sends meanwhile. What is
        # asked next waits for its outcome.
        with contextlib.suppress(*DATABASE_ERRORS):
            async with asyncio.timeout(_CANCEL_S):
                await connection.execute("SELECT 1")
        raise
    return rows


def _tracks(rows: list[Any], end_ms: int) -> list[Track]:
    """Return the columns of each device as far as the answer goes."""
    tracks = []
    for device_id, ts, *columns in rows:
        count = bisect_left(ts, end_ms)
        if count:
            tracks.append(Track(device_id, ts[:count], *(column[:count] for column in columns)))
    return sorted(tracks, key=lambda track: track.deviceId)
