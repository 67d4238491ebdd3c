"""What the writer's tests share: positions, a database with its table, and an observer that remembers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import msgspec

from telemetry_app.core.sink import Refused
from telemetry_app.core.writer import PositionWriter
from telemetry_app.database.backoff import Backoff
from telemetry_app.database.postgres import Postgres
from telemetry_app.records.position import Position

FIRST_TS = datetime(2026, 5, 2, 12, tzinfo=UTC)
QUICK = Backoff(first_s=0.01, longest_s=0.05)

_PLAIN = Position(
    device_id="356307042441013",
    ts=FIRST_TS,
    latitude=41.99,
    longitude=21.43,
    altitude=240.0,
    angle=180.0,
    speed=33.0,
    satellites=12,
    priority=0,
    attributes=b'{"239":1,"240":true,"label":"x"}',
    codec="8E",
)


def position(second: int = 0, **changes: Any) -> Position:
    """Return a position that many seconds after the first; one key for each second."""
    return msgspec.structs.replace(_PLAIN, **{"ts": FIRST_TS + timedelta(seconds=second), **changes})


def positions(count: int, *, first: int = 0) -> list[Position]:
    return [position(first + second) for second in range(count)]


class WriteResult(NamedTuple):
    """What became of the rows of a write, as the observer was told; the numbers add up to the rows given."""

    inserted: int
    duplicates: int
    refused: tuple[Refused, ...]


class Observed:
    """Remembers what the writer told."""

    def __init__(self) -> None:
        self.rows = Counter[str]()
        self.retries = Counter[str]()
        self.durations: list[float] = []

    def undecodable(self, records: int) -> None:
        self.rows["undecodable"] += records

    def inserted(self, rows: int) -> None:
        self.rows["inserted"] += rows

    def duplicates(self, rows: int) -> None:
        self.rows["duplicates"] += rows

    def failed(self, rows: int) -> None:
        self.rows["failed"] += rows

    def duration(self, seconds: float) -> None:
        self.durations.append(seconds)

    def retried(self, reason: str) -> None:
        self.retries[reason] += 1


class Desk:
    """A writer with everything it is given."""

    def __init__(self, postgres: Postgres, *, max_rows: int = 1000, attempt_timeout_s: float = 10) -> None:
        self.postgres = postgres
        self.observed = Observed()
        self.stopping = asyncio.Event()
        self.writer = PositionWriter(
            postgres,
            max_rows=max_rows,
            observer=self.observed,
            stopping=self.stopping,
            backoff=QUICK,
            attempt_timeout_s=attempt_timeout_s,
        )

    async def write(self, positions: Sequence[Position]) -> WriteResult:
        """Write, and return what became of the rows; one write at a time."""
        before = self.observed.rows.copy()
        refused = await self.writer.write(positions)
        told = Counter({name: rows - before[name] for name, rows in self.observed.rows.items()})
        assert told["failed"] == len(refused)
        assert told.total() == len(positions)
        return WriteResult(told["inserted"], told["duplicates"], tuple(refused))

    def has_inserted(self, rows: int) -> Callable[[], bool]:
        """Return a condition: so many rows are in the database."""
        return lambda: self.observed.rows["inserted"] >= rows

    def failing(self) -> bool:
        """Whether at least two attempts have failed, so that the second was a repetition."""
        return self.observed.retries.total() > 1


@contextlib.asynccontextmanager
async def pool(url: str, *, size: int = 2, statement_timeout_ms: int = 5000) -> AsyncIterator[Postgres]:
    """Start a pool for the time of the block."""
    postgres = Postgres(url, size=size, statement_timeout_ms=statement_timeout_ms)
    async with postgres:
        yield postgres


@contextlib.asynccontextmanager
async def desk(url: str, *, size: int = 2, statement_timeout_ms: int = 5000, **options: Any) -> AsyncIterator[Desk]:
    """Start a pool for the time of the block and give a writer on it."""
    async with pool(url, size=size, statement_timeout_ms=statement_timeout_ms) as postgres:
        yield Desk(postgres, **options)


@contextlib.asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Open a connection of the test's own."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def stored(url: str) -> list[int]:
    """Return the seconds (see `position`) of what is in the table, in order."""
    async with session(url) as connection:
        rows: Sequence[Any] = await connection.fetch("SELECT ts FROM positions ORDER BY ts")
    return [round((row["ts"] - FIRST_TS).total_seconds()) for row in rows]


async def writer_waits(url: str) -> bool:
    """Whether a statement of the pool waits for a lock.

    Asked by a session of its own: within a transaction the answer would not change.
    """
    async with session(url) as connection:
        waits: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'telemetry-processor'"
            " AND datname = current_database() AND wait_event_type = 'Lock')"
        )
    return waits


@contextlib.asynccontextmanager
async def writing(it: Desk, count: int = 10) -> AsyncIterator[asyncio.Task[WriteResult]]:
    """Write in a task, which does not outlive the block."""
    task = asyncio.create_task(it.write(positions(count)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
