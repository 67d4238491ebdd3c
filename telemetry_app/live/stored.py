"""How far the database is, device by device."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import asyncpg

from telemetry_app.shared.postgres import describe

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from telemetry_app.shared.postgres import Postgres

logger = logging.getLogger(__name__)

#: A subscribing client waits no longer than this; what was not read in time is taken as not stored.
_TIMEOUT_S: Final = 5.0

# One read of positions_device_ts_idx for each device.
_NEWEST: Final = """
SELECT device_id, (extract(epoch FROM newest.ts) * 1000)::bigint
FROM unnest($1::text[]) AS device_id
CROSS JOIN LATERAL (SELECT ts FROM positions p WHERE p.device_id = device_id.device_id ORDER BY ts DESC LIMIT 1) newest
"""


class StoredPositions:
    """Reads the newest stored timestamps; fails open."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def stored_until(self, device_ids: Collection[str]) -> Mapping[str, int]:
        """Return the newest stored timestamp of each device in epoch ms, faulty positions included."""
        try:
            async with self._postgres.acquire(timeout_s=_TIMEOUT_S) as connection:
                rows = await connection.fetch(_NEWEST, list(device_ids), timeout=_TIMEOUT_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            logger.warning("how far the database is cannot be read: %s", describe(error))
            return {}
        return {row[0]: row[1] for row in rows}
