"""Where devices were last: one indexed read per device."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from telemetry_app.database.outage import DATABASE_FAILURES, Outage
from telemetry_app.database.postgres import describe
from telemetry_app.live.wire.position import LivePosition, epoch_ms

if TYPE_CHECKING:
    from collections.abc import Collection

    from telemetry_app.database.postgres import Postgres

logger = logging.getLogger(__name__)

# The unique index (device_id, ts DESC) gives the first row at once; DISTINCT ON would read every row of every device.
# Rows without a place are of tables that are older than this service.
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
#: A map that waits longer is better off with live positions alone.
TIMEOUT_S: Final = 5.0


class SnapshotObserver(Protocol):
    """Told how long reading took, and when it failed."""

    def snapshot(self, seconds: float) -> None:
        """A snapshot was read, or given up, after this time."""

    def snapshot_failed(self) -> None:
        """A snapshot could not be read, and was left empty."""


class SnapshotReader:
    """Reads from `positions`, and fails open: what cannot be read is left out. Never raises."""

    def __init__(self, postgres: Postgres, observer: SnapshotObserver) -> None:
        self._postgres = postgres
        self._observer = observer
        self._outage = Outage(logger, "snapshots stay empty")

    async def newest(self, device_ids: Collection[str]) -> list[LivePosition]:
        """Return the newest position of each device that is not marked faulty, however old; in any order."""
        if not device_ids:
            return []
        started_at = time.perf_counter()
        rows = await self._read(device_ids)
        self._observer.snapshot(time.perf_counter() - started_at)
        return [LivePosition(row[0], row[1], row[2], epoch_ms(row[3]), row[4], row[5]) for row in rows]

    async def _read(self, device_ids: Collection[str]) -> list[Any]:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._postgres.acquire() as connection:
                rows: list[Any] = await connection.fetch(NEWEST, list(device_ids))
        except DATABASE_FAILURES as error:
            self._observer.snapshot_failed()
            self._outage.failed(describe(error))
            return []
        self._outage.over()
        return rows
