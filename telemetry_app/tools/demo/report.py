"""The demo's report: what became of every record, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from faust_redis.redis.client import Client, execute
from faust_redis.redis.replies import EntryId
from telemetry_app.records.decoding import decode_entries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    import asyncpg

    from telemetry_app.tools.demo.figures import Figures

_PAGE = 5000

#: When a row was committed, by the server's clock; needs track_commit_timestamp.
_COMMITTED = "SELECT device_id, ts, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 * 1000 FROM positions"


class Percentiles(msgspec.Struct, frozen=True):
    """Median and 99th percentile in milliseconds; None when nothing was measured."""

    p50: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles:
        """Take them from values in any order."""
        ordered = sorted(values)
        if not ordered:
            return cls(None, None)
        return cls(*(round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3) for share in (0.50, 0.99)))


class Latency(msgspec.Struct, frozen=True):
    """From the entry's id in the stream to its row's commit, and to its frame's arrival at a client."""

    stored: Percentiles
    delivered: Percentiles


class Report(msgspec.Struct, frozen=True):
    """What `telemetry demo --report` writes."""

    published: int
    stored: int
    duplicates: int
    refused: int
    frames_delivered: int
    latency_ms: Latency


def make_report(figures: Figures, stored_ms: Sequence[float], delivered_ms: Sequence[float]) -> Report:
    """Put figures and latencies together."""
    return Report(
        published=figures.published,
        stored=figures.stored,
        duplicates=figures.duplicates,
        refused=figures.refused,
        frames_delivered=len(delivered_ms),
        latency_ms=Latency(stored=Percentiles.of(stored_ms), delivered=Percentiles.of(delivered_ms)),
    )


def write_report(report: Report, path: Path) -> None:
    """Write the report as indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


async def stored_latencies_ms(redis: Client, database: asyncpg.Connection, stream: str) -> list[float]:
    """Return, for each row, the time from its first entry in the stream to the commit that stored it."""
    published = await _first_published_ms(redis, stream)
    rows = await database.fetch(_COMMITTED)
    return [committed - published[device_id, ts] for device_id, ts, committed in rows if (device_id, ts) in published]


async def _first_published_ms(redis: Client, stream: str) -> dict[tuple[str, datetime], int]:
    """Return the time of the first entry for each device and timestamp, read from the stream itself."""
    published: dict[tuple[str, datetime], int] = {}
    start = "-"
    while page := await execute(redis, "XRANGE", stream, start, "+", "COUNT", _PAGE):
        decoded = decode_entries((entry_id, fields) for entry_id, fields in page)
        for position, entry_id in zip(decoded.positions, decoded.entry_ids, strict=True):
            published.setdefault((position.device_id, position.ts), EntryId.parse(entry_id).ms)
        start = f"({page[-1][0].decode()}"
    return published
