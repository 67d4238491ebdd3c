"""What the writer's tests share: a writer with everything it is given, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

from telemetry_app.core.positions.writer import PositionWriter
from telemetry_app.core.sink import Refused
from telemetry_app.database.backoff import Backoff
from telemetry_app.database.postgres import Postgres
from telemetry_app.records.position import Position
from tests.support.database import pool, session
from tests.support.observed import WriterObserved
from tests.support.records import FIRST_TS, positions

QUICK = Backoff(first_s=0.01, longest_s=0.05)


class WriteResult(NamedTuple):
    """What became of the rows of a write, as the observer was told; the numbers add up to the rows given."""

    inserted: int
    duplicates: int
    refused: tuple[Refused, ...]
    merged: int = 0


class Desk:
    """A writer with everything it is given."""

    def __init__(
        self, postgres: Postgres, *, max_rows: int = 1000, attempt_timeout_s: float = 40, refuse_after: int = 5
    ) -> None:
        self.postgres = postgres
        self.observed = WriterObserved()
        self.stopping = asyncio.Event()
        self.writer = PositionWriter(
            postgres,
            max_rows=max_rows,
            observer=self.observed,
            stopping=self.stopping,
            refuse_after=refuse_after,
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
        return WriteResult(told["inserted"], told["duplicates"], tuple(refused), told["merged"])

    def has_inserted(self, rows: int) -> Callable[[], bool]:
        """Return a condition: so many rows are in the database."""
        return lambda: self.observed.rows["inserted"] >= rows

    def failing(self) -> bool:
        """Whether at least two attempts have failed, so that the second was a repetition."""
        return self.observed.retries.total() > 1


@contextlib.asynccontextmanager
async def desk(url: str, *, size: int = 2, statement_timeout_ms: int = 30_000, **options: Any) -> AsyncIterator[Desk]:
    """Start a pool for the time of the block and give a writer on it."""
    async with pool(url, size=size, statement_timeout_ms=statement_timeout_ms) as postgres:
        yield Desk(postgres, **options)


async def stored(url: str) -> list[int]:
    """Return the seconds (see `position`) of what is in the table, in order."""
    async with session(url) as connection:
        rows: Sequence[Any] = await connection.fetch("SELECT ts FROM positions ORDER BY ts")
    return [round((row["ts"] - FIRST_TS).total_seconds()) for row in rows]


async def writer_waits(url: str, event: str = "Lock") -> bool:
    """Whether a statement of the pool waits for a lock, or for another event or kind of event.

    Asked by a session of its own: within a transaction the answer would not change.
    """
    async with session(url) as connection:
        waits: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'telemetry-processor'"
            " AND datname = current_database() AND $1 IN (wait_event_type, wait_event))",
            event,
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
