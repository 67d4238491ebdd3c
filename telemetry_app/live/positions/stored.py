"""How far the database is, device by device."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from telemetry_app.database.outage import DATABASE_FAILURES, Outage
from telemetry_app.database.postgres import describe
from telemetry_app.live.wire.position import epoch_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from telemetry_app.database.postgres import Postgres

logger = logging.getLogger(__name__)

#: What is not read in time is taken as not stored: shown twice at worst, by a map that shows it in the same place.
TIMEOUT_S: Final = 5.0

# One read of the unique index (device_id, ts DESC) for each device.
_NEWEST: Final = """
SELECT d.device_id, p.ts
FROM unnest($1::text[]) AS d (device_id)
CROSS JOIN LATERAL (
    SELECT ts FROM positions WHERE positions.device_id = d.device_id ORDER BY positions.ts DESC LIMIT 1
) AS p
"""


class StoredPositions:
    """Reads the newest stored timestamps, and fails open. Never raises."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._outage = Outage(logger, "how far the database is, is unknown")

    async def stored_until(self, device_ids: Collection[str]) -> Mapping[str, int]:
        """Return the newest stored timestamp of each device in epoch ms, faulty positions included."""
        try:
            async with asyncio.timeout(TIMEOUT_S), self._postgres.acquire() as connection:
                rows = await connection.fetch(_NEWEST, list(device_ids))
        except DATABASE_FAILURES as error:
            self._outage.failed(describe(error))
            return {}
        self._outage.over()
        return {row[0]: epoch_ms(row[1]) for row in rows}
