"""Batches of positions into the database, through every failure that passes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import asyncpg

from telemetry_app.core.insert import RowsRefusedError, insert, reason_of
from telemetry_app.core.rows import columns
from telemetry_app.database.backoff import Backoff
from telemetry_app.database.postgres import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_app.core.rows import Columns
    from telemetry_app.database.postgres import Postgres
    from telemetry_app.records.position import Position

logger = logging.getLogger(__name__)

#: Above the statement timeout, so that the server gives up first and says so; only a silent one is left to this.
ATTEMPT_TIMEOUT_S: Final = 25.0
#: One line per kind of failure in this time: an outage makes a few attempts a second.
COMPLAIN_EVERY_S: Final = 10.0

_ADVICE: Final = {
    "42P01": "run `telemetry migrate`: the table is missing",
    "42703": "run `telemetry migrate`: the table lacks a column",
    "42P10": "run `telemetry migrate`: the table lacks its unique index on (device_id, ts)",
    "42501": "grant INSERT and SELECT on positions to POSTGRES_URL's user, or run `telemetry migrate` as its owner",
    "53100": "free disk space on the database server",
    "53300": "raise max_connections or lower POSTGRES_POOL_SIZE",
    "25006": "the server is read-only, POSTGRES_URL has to name the primary",
    "28P01": "correct the password in POSTGRES_URL",
    "3D000": "create the database that POSTGRES_URL names",
}


class WriteAbandoned(Exception):  # noqa: N818 - not an error: the application stops and the batch stays pending
    """The application is stopping and the database does not take the batch; some of its rows may be stored."""


class WriteObserver(Protocol):
    """Told what happened to rows, where and when it happens."""

    def inserted(self, rows: int) -> None:
        """Rows are new in the database."""

    def duplicates(self, rows: int) -> None:
        """Rows were in the database already."""

    def failed(self, rows: int) -> None:
        """Rows are refused by the database."""

    def duration(self, seconds: float) -> None:
        """One statement was answered after this time."""

    def retried(self, reason: str) -> None:
        """An attempt failed in a way that passes; `reason` is the error's type."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the database cannot hold.

    Args:
        index: its place in the positions given to `write`.
        reason: why, in at most 200 characters, led by the column's name where it is known.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of each row of a write: the three numbers add up to the rows given."""

    inserted: int
    duplicates: int
    refused: tuple[Refused, ...]


@dataclass(slots=True)
class _Tally:
    inserted: int = 0
    duplicates: int = 0
    refused: list[Refused] = field(default_factory=list)


class PositionWriter:
    """Writes positions, each exactly once however often it is given.

    A failure that passes (connection, restart, recovery, deadlock, timeout, full disk, a missing table, and whatever
    is not known to be the rows' own fault) is repeated with backoff until it succeeds or the application stops. An
    attempt whose reply was lost may have been committed: repeating it stores nothing twice, since the table is unique
    by device and time, and its rows then count as duplicates.

    Rows that the database cannot hold are found by halving the batch, in about 2k·log2(n) statements for k of n rows;
    their neighbours are stored.

    Args:
        postgres: where connections come from; several writes may run at the same time.
        max_rows: most rows of one statement.
        observer: told the real numbers.
        stopping: set when the application stops; a failed attempt is then not repeated.
        backoff: waits between attempts.
        attempt_timeout_s: how long one attempt may take, after which its connection is dropped.
    """

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
        self._complained_at: dict[str, float] = {}
        self._failure: str | None = None

    async def why_not_ready(self) -> str | None:
        """Return None unless the last attempt failed, else why."""
        return self._failure

    async def write(self, positions: Sequence[Position]) -> WriteResult:
        """Store positions, in order, and return what became of them.

        Raises:
            WriteAbandoned: the application is stopping and an attempt failed; what is stored by then stays stored.
        """
        tally = _Tally()
        for start in range(0, len(positions), self._max_rows):
            await self._store(positions[start : start + self._max_rows], start, tally)
        return WriteResult(tally.inserted, tally.duplicates, tuple(tally.refused))

    async def _store(self, positions: Sequence[Position], start: int, tally: _Tally) -> None:
        """Store the positions that begin at index `start`, halving them where one is refused."""
        try:
            rows = columns(positions)
            stored = await self._insist(rows)
        except (RowsRefusedError, ValueError, OverflowError) as error:
            if len(positions) == 1:
                reason = str(error) if isinstance(error, RowsRefusedError) else reason_of(error)
                self._refuse(Refused(start, reason), tally)
                return
            middle = len(positions) // 2
            await self._store(positions[:middle], start, tally)
            await self._store(positions[middle:], start + middle, tally)
        else:
            self._count(stored, len(positions), tally)

    async def _insist(self, rows: Columns) -> int:
        """Repeat the statement until the database has answered it."""
        failures = 0
        while True:
            try:
                stored = await self._attempt(rows)
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
                    logger.info("Postgres takes positions again, after %d failed attempts", failures)
                return stored

    async def _attempt(self, rows: Columns) -> int:
        async with asyncio.timeout(self._attempt_timeout_s), self._postgres.acquire() as connection:
            started_at = time.perf_counter()
            stored = await insert(connection, rows)
            self._observer.duration(time.perf_counter() - started_at)
            return stored

    async def _stopped_within(self, wait_s: float) -> bool:
        """Wait between two attempts; return whether the application is stopping, at once when it is."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait_s)
        return self._stopping.is_set()

    def _count(self, stored: int, given: int, tally: _Tally) -> None:
        tally.inserted += stored
        tally.duplicates += given - stored
        self._observer.inserted(stored)
        self._observer.duplicates(given - stored)

    def _refuse(self, refused: Refused, tally: _Tally) -> None:
        tally.refused.append(refused)
        self._observer.failed(1)

    def _complain(self, error: Exception) -> None:
        kind = type(error).__name__
        advice = _ADVICE.get(getattr(error, "sqlstate", None) or "", "trying again")
        self._failure = f"positions are not written ({describe(error)}): {advice}"
        now = time.monotonic()
        if now - self._complained_at.get(kind, -COMPLAIN_EVERY_S) < COMPLAIN_EVERY_S:
            return
        self._complained_at[kind] = now
        level = (
            logging.WARNING
            if isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError, OSError))
            else logging.ERROR
        )
        logger.log(level, "positions are not written and wait (%s): %s", describe(error), advice)
