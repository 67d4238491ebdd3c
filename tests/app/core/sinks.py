"""Sinks that are not the positions' table, and batches for them."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from telemetry_app.core.batch import DecodedBatch, decode_batch
from telemetry_app.core.sink import Refused
from telemetry_app.database.postgres import Postgres
from telemetry_app.records.position import Position
from tests.support.batches import RecordedDelivery, batch_of
from tests.support.observed import WriterObserved
from tests.support.records import fields

CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS speeds (device_id text, ts timestamptz, speed float8, UNIQUE (device_id, ts))"
)
_INSERT: Final = """
INSERT INTO speeds SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::float8[]) ON CONFLICT DO NOTHING
"""
#: What this database cannot hold.
FASTEST: Final = 300.0


class SpeedSink:
    """A second database, as a developer would add one: stores speeds, and refuses those that nobody drives."""

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


class HeldSink:
    """Takes a batch when the test lets it.

    Args:
        name: Of the sink.
        refuses: What it answers.
        fails: What it raises instead.
    """

    def __init__(self, name: str = "held", *, refuses: Sequence[Refused] = (), fails: Exception | None = None) -> None:
        self.name = name
        self.refuses = refuses
        self.fails = fails
        self.seen: list[Sequence[Position]] = []
        self.writing = 0
        self.cancelled = 0
        self.release = asyncio.Event()
        self.reason: str | None = None

    async def write(self, positions: Sequence[Position]) -> Sequence[Refused]:
        self.seen.append(positions)
        self.writing += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.writing -= 1
        if self.fails:
            raise self.fails
        return self.refuses

    async def why_not_ready(self) -> str | None:
        return self.reason


def decoded(*changes: dict[str, Any]) -> tuple[DecodedBatch, RecordedDelivery]:
    """Return a decoded batch with an entry for each of `changes`; without any, with ten."""
    seconds = changes or tuple({"timestamp": f"2026-05-02T12:00:{second:02d}Z"} for second in range(10))
    batch, delivery = batch_of(*(fields(**change) for change in seconds))
    return decode_batch(batch, WriterObserved(), max_ahead_s=300), delivery
