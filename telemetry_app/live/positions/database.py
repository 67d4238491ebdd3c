"""Reading the table of positions: one index lookup per device."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.outage import Outage
from telemetry_app.live.wire.position import LivePosition
from telemetry_app.records.quality import epoch_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from telemetry_app.database.postgres import Postgres
    from telemetry_app.live.ports import LiveObserver
    from telemetry_app.live.wire.position import Rank

logger = logging.getLogger(__name__)

# The unique index (device_id, ts DESC) gives the first row at once; DISTINCT ON would read every row of every device.
# Tables older than this service may have rows without a place. The smaller of ts and ingested_at is the effective time
# (see `records.quality`).
NEWEST: Final = """
SELECT d.device_id, p.latitude, p.longitude, p.ts, p.speed, p.angle, p.seen
FROM unnest($1::text[]) AS d (device_id)
CROSS JOIN LATERAL (
    SELECT latitude, longitude, ts, coalesce(speed, 0) AS speed, coalesce(angle, 0) AS angle,
           least(ts, ingested_at) AS seen
    FROM positions
    WHERE positions.device_id = d.device_id AND NOT faulty AND latitude IS NOT NULL AND longitude IS NOT NULL
    ORDER BY positions.ts DESC
    LIMIT 1
) AS p
"""
# Where the newest by timestamp is ahead of its append, a newer one by effective time is no further down than that time.
_NEWEST_UNLESS_AHEAD: Final = """
SELECT d.device_id, p.latitude, p.longitude, p.ts, p.speed, p.angle, p.seen
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS d (device_id, first_ts, last_ts)
CROSS JOIN LATERAL (
    SELECT latitude, longitude, ts, coalesce(speed, 0) AS speed, coalesce(angle, 0) AS angle,
           least(ts, ingested_at) AS seen
    FROM positions
    WHERE positions.device_id = d.device_id AND NOT faulty AND latitude IS NOT NULL AND longitude IS NOT NULL
      AND positions.ts BETWEEN d.first_ts AND d.last_ts
    ORDER BY least(ts, ingested_at) DESC, ts DESC
    LIMIT 1
) AS p
"""
_STORED_UNTIL: Final = """
SELECT d.device_id, p.ts, p.seen
FROM unnest($1::text[], $2::float8[]) AS d (device_id, until)
CROSS JOIN LATERAL (
    SELECT ts, least(ts, ingested_at) AS seen
    FROM positions
    WHERE positions.device_id = d.device_id AND positions.ts < to_timestamp(d.until)
    ORDER BY positions.ts DESC
    LIMIT 1
) AS p
"""
#: In seconds: times are known here to the nearest millisecond, in the table to the microsecond.
_HALF_MS: Final = 0.0005
#: A map that waits longer is better off with live positions alone.
TIMEOUT_S: Final = 5.0


class PositionsTable:
    """Reads the table `positions`. Never raises."""

    def __init__(self, postgres: Postgres, observer: LiveObserver) -> None:
        self._postgres = postgres
        self._observer = observer
        self._outage = Outage(logger, "reading snapshots (partial meanwhile)")

    async def newest(self, device_ids: Collection[str]) -> list[LivePosition] | None:
        """Return the newest position of each device that is not marked faulty, however old; in any order.

        Returns:
            None when they cannot be read.
        """
        if not device_ids:
            return []
        started_at = time.perf_counter()
        rows = await self._newest(list(device_ids))
        self._observer.snapshot(time.perf_counter() - started_at)
        if rows is None:
            self._observer.snapshot_failed()
            return None
        return [
            LivePosition(device_id, latitude, longitude, epoch_ms(ts), speed, angle, (epoch_ms(seen), epoch_ms(ts)))
            for device_id, latitude, longitude, ts, speed, angle, seen in rows
        ]

    async def stored_until(self, newest: Mapping[str, Rank]) -> Mapping[str, Rank]:
        """Return the last stored position up to the timestamp of another one of each device, faulty ones included.

        What cannot be read counts as not stored: at worst a map is shown it twice, in the same place.
        """
        until = [ts_ms / 1000 + _HALF_MS for _, ts_ms in newest.values()]
        rows = await self._fetch(_STORED_UNTIL, list(newest), until) or ()
        return {device_id: (epoch_ms(seen), epoch_ms(ts)) for device_id, ts, seen in rows}

    async def _newest(self, device_ids: list[str]) -> list[Any] | None:
        rows = await self._fetch(NEWEST, device_ids)
        ahead = [row for row in rows or () if row["seen"] < row["ts"]]
        if rows is None or not ahead:
            return rows
        columns = ([row[name] for row in ahead] for name in ("device_id", "seen", "ts"))
        found = await self._fetch(_NEWEST_UNLESS_AHEAD, *columns)
        return None if found is None else [row for row in rows if row["seen"] >= row["ts"]] + found

    async def _fetch(self, statement: str, *arguments: Sequence[Any]) -> list[Any] | None:
        """Return the rows; None when the database cannot be read in time."""
        try:
            async with asyncio.timeout(TIMEOUT_S), self._postgres.acquire() as connection:
                rows: list[Any] = await connection.fetch(statement, *arguments)
        except DATABASE_ERRORS as error:
            self._outage.failed(describe(error))
            return None
        self._outage.over()
        return rows
