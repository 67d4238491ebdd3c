"""A second database, as a developer would add one: a table of its own with each device's speeds."""

from collections.abc import Sequence
from typing import Final

from telemetry_app.core.sink import Refused
from telemetry_app.database.postgres import Postgres
from telemetry_app.records.position import Position

CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS speeds (device_id text, ts timestamptz, speed float8, UNIQUE (device_id, ts))"
)
_INSERT: Final = """
INSERT INTO speeds SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::float8[]) ON CONFLICT DO NOTHING
"""
#: What this database cannot hold.
FASTEST: Final = 300.0


class SpeedSink:
    """Stores speeds, each exactly once, and refuses those that nobody drives."""

    name: Final = "speeds"

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres

    async def write(self, positions: Sequence[Position]) -> Sequence[Refused]:
        kept = [p for p in positions if p.speed <= FASTEST]
        async with self.postgres.acquire() as connection:
            await connection.execute(CREATE)
            await connection.execute(
                _INSERT, [p.device_id for p in kept], [p.ts for p in kept], [p.speed for p in kept]
            )
        return [
            Refused(index, f"speed: {position.speed:g} km/h")
            for index, position in enumerate(positions)
            if position.speed > FASTEST
        ]

    async def why_not_ready(self) -> str | None:
        return None
