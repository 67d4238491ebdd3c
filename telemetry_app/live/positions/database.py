"""Reading the table of positions: one index lookup per device."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.outage import Outage
from telemetry_app.live.wire.position import LivePosition, epoch_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from telemetry_app.database.postgres import Postgres
    from telemetry_app.live.ports import LiveObserver

logger = logging.getLogger(__name__)

# The unique index (device_id, ts DESC) gives the first row at once; DISTINCT ON would read every row of every device.
# Tables older than this service may have rows without a place.
NEWEST: Final = """
SELECT d.device_id, p.latitude, p.longitude, p.ts, p.speed, p.angle
FROM unnest($1::text[]) AS d (device_id)
CROSS JOIN LATERAL (
    SELECT latitude, longitude, ts, coalesce(speed, 0) AS speed, coalesce(angle, 0) AS angle
    FROM positions
    WHERE positions.device_id = d.device_id AND NOT faulty AND latitude IS NOT NULL AND longitude IS NOT NULL
    ORDER BY positions.ts DESC
    LIMIT 1
) AS p
"""
_STORED_UNTIL: Final = """
SELECT d.device_id, p.ts
FROM unnest($1::text[]) AS d (device_id)
CROSS JOIN LATERAL (
    SELECT ts FROM positions WHERE positions.device_id = d.device_id ORDER BY positions.ts DESC LIMIT 1
) AS p
"""
#: A map that waits longer is better off with live positions alone.
TIMEOUT_S: Final = 5.0


class PositionsTable:
    """Reads the table `positions`, and fails open: what cannot be read is left out. Never raises."""

    def __init__(self, postgres: Postgres, observer: LiveObserver) -> None:
        self._postgres = postgres
        self._observer = observer
        self._outage = Outage(logger, "reading snapshots (empty meanwhile)")

    async def newest(self, device_ids: Collection[str]) -> list[LivePosition]:
        """Return the newest position of each device that is not marked faulty, however old; in any order."""
        if not device_ids:
            return []
        started_at = time.perf_counter()
        rows = await self._fetch(NEWEST, device_ids)
        self._observer.snapshot(time.perf_counter() - started_at)
        if rows is None:
            self._observer.snapshot_failed()
            return []
        return [LivePosition(row[0], row[1], row[2], epoch_ms(row[3]), row[4], row[5]) for row in rows]

    async def stored_until(self, device_ids: Collection[str]) -> Mapping[str, int]:
        """Return the newest stored timestamp of each device in epoch ms, faulty positions included.

        What cannot be read counts as not stored: at worst a map is shown it twice, in the same place.
        """
        rows = await self._fetch(_STORED_UNTIL, device_ids) or ()
        return {row[0]: epoch_ms(row[1]) for row in rows}

    async def _fetch(self, statement: str, device_ids: Collection[str]) -> list[Any] | None:
        """Return the rows; None when the database cannot be read in time."""
        try:
            async with asyncio.timeout(TIMEOUT_S), self._postgres.acquire() as connection:
                rows: list[Any] = await connection.fetch(statement, list(device_ids))
        except DATABASE_ERRORS as error:
            self._outage.failed(describe(error))
            return None
        self._outage.over()
        return rows
