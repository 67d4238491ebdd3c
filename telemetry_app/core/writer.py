"""Batches of positions into the database, through every failure that passes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from telemetry_app.core.insert import RowsRefusedError, insert, reason_of
from telemetry_app.core.merge import Merger
from telemetry_app.core.rows import columns
from telemetry_app.core.sink import Refused, WriteAbandoned
from telemetry_app.database.backoff import Backoff
from telemetry_app.database.errors import describe, meaning_of
from telemetry_app.database.outage import COMPLAIN_EVERY_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from telemetry_app.core.observer import WriteObserver
    from telemetry_app.core.rows import Columns
    from telemetry_app.database.postgres import Postgres
    from telemetry_app.records.position import Position

    Statement = Callable[[PoolConnectionProxy[Any], Columns], Awaitable[int]]

logger = logging.getLogger(__name__)

#: Above the statement timeout, so that the server gives up first and says so; only a silent one is left to this.
ATTEMPT_TIMEOUT_S: Final = 25.0


class PositionWriter:
    """Writes positions, each exactly once however often it is given.

    A failure that passes (connection, restart, recovery, deadlock, timeout, full disk, a missing table, and whatever
    is not known to be the rows' own fault) is repeated with backoff until it succeeds or the application stops. An
    attempt whose reply was lost may have been committed: repeating it stores nothing twice, since the table is unique
    by device and time, and its rows then count as duplicates.

    Of two records with one device and time the first one is stored; what the other one has besides is merged into it.

    Rows that the database cannot hold are found by halving the batch, in about 2k·log2(n) statements for k of n rows;
    their neighbours are stored.

    Args:
        postgres: Where connections come from; several writes may run at the same time.
        max_rows: Most rows of one statement.
        observer: Told the real numbers.
        stopping: Set when the application stops; a failed attempt is then not repeated.
        backoff: Waits between attempts.
        attempt_timeout_s: How long one attempt may take, after which its connection is dropped.
    """

    name: Final = "database"

    def __init__(
        self,
        postgres: Postgres,
        *,
        max_rows: int,
        observer: WriteObserver,
        stopping: asyncio.Event,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        attempt_timeout_s: float = ATTEMPT_TIMEOUT_S,
    ) -> None:
        self._postgres = postgres
        self._max_rows = max_rows
        self._observer = observer
        self._stopping = stopping
        self._backoff = backoff
        self._attempt_timeout_s = attempt_timeout_s
        self._merger = Merger()
        self._complained_at: dict[str, float] = {}
        self._failure: str | None = None

    async def why_not_ready(self) -> str | None:
        """Return None unless the last attempt failed, else why it did."""
        return self._failure

    async def write(self, positions: Sequence[Position]) -> Sequence[Refused]:
        """Store positions, in order, and return those that the database cannot hold.

        Raises:
            WriteAbandoned: The application is stopping and an attempt failed; what is stored by then stays stored.
        """
        refused: list[Refused] = []
        for start in range(0, len(positions), self._max_rows):
            await self._store(positions[start : start + self._max_rows], start, refused)
        return refused

    async def _store(self, positions: Sequence[Position], start: int, refused: list[Refused]) -> None:
        """Store the positions that begin at index `start`, halving them where one is refused."""
        try:
            rows = columns(positions)
            stored = await self._retry_until_stopped(rows, self._insert)
        except (RowsRefusedError, ValueError, OverflowError) as error:
            if len(positions) == 1:
                reason = str(error) if isinstance(error, RowsRefusedError) else reason_of(error)
                refused.append(Refused(start, reason))
                self._observer.failed(1)
                return
            middle = len(positions) // 2
            await self._store(positions[:middle], start, refused)
            await self._store(positions[middle:], start + middle, refused)
        else:
            # Nearly always all are stored, and all is done by one statement.
            merged = await self._retry_until_stopped(rows, self._merger.merge) if stored < len(positions) else 0
            self._observer.inserted(stored)
            if merged:
                self._observer.merged(merged)
            self._observer.duplicates(len(positions) - stored - merged)

    async def _retry_until_stopped(self, rows: Columns, statement: Statement) -> int:
        """Repeat the statement until the database has answered it."""
        failures = 0
        while True:
            try:
                rows_changed = await self._attempt(rows, statement)
            except RowsRefusedError:
                raise
            except Exception as error:
                failures += 1
                self._complain(error)
                self._observer.retried(type(error).__name__)
                if await self._stopped_within(self._backoff.wait_s(failures)):
                    raise WriteAbandoned(describe(error)) from error
            else:
                self._failure = None
                if failures:
                    self._complained_at.clear()
                    logger.info("Postgres accepts positions again, after %d failed attempts", failures)
                return rows_changed

    async def _attempt(self, rows: Columns, statement: Statement) -> int:
        async with asyncio.timeout(self._attempt_timeout_s), self._postgres.acquire() as connection:
            return await statement(connection, rows)

    async def _insert(self, connection: PoolConnectionProxy[Any], rows: Columns) -> int:
        started_at = time.perf_counter()
        stored = await insert(connection, rows)
        self._observer.duration(time.perf_counter() - started_at)
        return stored

    async def _stopped_within(self, wait_s: float) -> bool:
        """Wait between two attempts; return whether the application is stopping, at once when it is."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait_s)
        return self._stopping.is_set()

    def _complain(self, error: Exception) -> None:
        kind, meaning = type(error).__name__, meaning_of(error)
        self._failure = f"positions are not being written ({describe(error)}): {meaning.advice}"
        # An outage makes a few attempts a second: one line for each kind of failure in a while is enough.
        now = time.monotonic()
        if now - self._complained_at.get(kind, -COMPLAIN_EVERY_S) < COMPLAIN_EVERY_S:
            return
        self._complained_at[kind] = now
        logger.log(
            meaning.severity, "positions are not being written, and wait (%s): %s", describe(error), meaning.advice
        )
