"""Batches of positions into the database, through every failure that passes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from telemetry_app.core.place import give_up_place
from telemetry_app.core.positions.insert import RowsRefusedError, insert, reason_of
from telemetry_app.core.positions.merge import Merger
from telemetry_app.core.positions.probe import takes_a_row
from telemetry_app.core.positions.rows import columns, doubt_columns, statements
from telemetry_app.core.positions.trial import Trial
from telemetry_app.core.sink import Refused, WriteAbandoned
from telemetry_app.database.backoff import Backoff
from telemetry_app.database.errors import DATABASE_ERRORS, describe, meaning_of
from telemetry_app.database.outage import COMPLAIN_EVERY_S
from telemetry_app.records.quality import any_doubted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from telemetry_app.core.observer import WriteObserver
    from telemetry_app.core.positions.insert import Stored
    from telemetry_app.core.positions.rows import Columns, DoubtColumns
    from telemetry_app.database.postgres import Postgres
    from telemetry_app.records.position import Position

_Result = TypeVar("_Result")

logger = logging.getLogger(__name__)

#: Above the statement timeout, so that the server gives up first and says so; only a silent one is left to this.
ATTEMPT_TIMEOUT_S: Final = 25.0
#: A batch that has been in trouble for so long makes the worker not ready, although others pass.
_LONG_TROUBLE_S: Final = 30.0
_PROBE_TIMEOUT_S: Final = 2.0


class PositionWriter:
    """Writes positions, each exactly once however often it is given.

    A failure that passes (connection, restart, recovery) is repeated with backoff until it succeeds or the application
    stops. An attempt whose reply was lost may have been committed: repeating it stores nothing twice, since the table
    is unique by device and time, and its rows then count as duplicates.

    Of two records with one device and time the first one is stored; what the other one has besides is merged into it.

    What fails otherwise a few times is in trouble (`Trial`): its rows are stored or refused one by one, or wait, while
    other batches pass.

    Args:
        postgres: Where connections come from; several writes may run at the same time.
        max_rows: Most rows of one statement.
        observer: Told the real numbers.
        stopping: Set when the application stops; a failed attempt is then not repeated.
        refuse_after: How often a row fails alone, while others pass, before it is refused.
        backoff: Waits between attempts.
        attempt_timeout_s: How long one attempt may take, after which its connection is dropped.

    Attributes:
        passed: How many statements have stored a row.
    """

    name: Final = "database"

    def __init__(
        self,
        postgres: Postgres,
        *,
        max_rows: int,
        observer: WriteObserver,
        stopping: asyncio.Event,
        refuse_after: int = 5,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        attempt_timeout_s: float = ATTEMPT_TIMEOUT_S,
    ) -> None:
        self._postgres = postgres
        self._max_rows = max_rows
        self._observer = observer
        self._stopping = stopping
        self._refuse_after = refuse_after
        self._backoff = backoff
        self._attempt_timeout_s = attempt_timeout_s
        self._merger = Merger()
        self._complained_at: dict[str, float] = {}
        self._failure: str | None = None
        self._trials: dict[Trial, float] = {}
        # All batches in trouble share one connection, so that they cannot take the others'.
        self._one_trial = asyncio.Lock()
        self.passed = 0

    async def why_not_ready(self) -> str | None:
        """Return None while positions pass and no batch is in trouble for long, else what is wrong."""
        now = time.monotonic()
        troubles = (trial for trial, since in self._trials.items() if trial.stuck or now - since > _LONG_TROUBLE_S)
        if trial := next(troubles, None):
            return f"{trial.describe()}: {meaning_of(trial.error).advice}"
        return self._failure

    async def write(self, positions: Sequence[Position]) -> Sequence[Refused]:
        """Store positions, in order, and return those that the database cannot hold.

        Raises:
            WriteAbandoned: The application is stopping and an attempt failed; what is stored by then stays stored.
        """
        refused: list[Refused] = []
        for start, end in statements(positions, self._max_rows):
            # Nearly always it is one statement, for all of them as they are.
            some = positions if end - start == len(positions) else positions[start:end]
            refused += await self._store(some, start)
        return sorted(refused, key=lambda row: row.index)

    async def _store(self, positions: Sequence[Position], start: int) -> list[Refused]:
        """Store the positions that begin at index `start`; a statement that fails on and on is halved."""
        failures = 0
        while True:
            try:
                await self._attempt(positions)
            except WriteAbandoned:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the batch waits or is halved
                failures += 1
                if _calls_for_trial(error, failures):
                    return await self._try_by_pieces(positions, error, start)
                await self.rest(error, failures, stuck=True)
            else:
                self._accepted(failures)
                return []

    async def _try_by_pieces(self, positions: Sequence[Position], error: Exception, start: int) -> list[Refused]:
        trial = Trial(self, positions, error, refuse_after=self._refuse_after, start=start)
        if not isinstance(error, RowsRefusedError) and self._is_news(f"halved {type(error).__name__}"):
            logger.warning("a statement of %d rows fails and is halved: %s", len(positions), describe(error))
        self._trials[trial] = time.monotonic()
        self._observer.in_trouble(len(self._trials))
        try:
            refused = await trial.run()
        finally:
            del self._trials[trial]
            self._observer.in_trouble(len(self._trials))
        self._observer.failed(len(refused))
        return refused

    async def _attempt(self, positions: Sequence[Position], *, within_s: float | None = None) -> None:
        """Store positions by one statement.

        Raises:
            RowsRefusedError: At least one of them cannot be held.
            Exception: Whatever else went wrong.
        """
        try:
            rows = columns(positions)
            doubts = doubt_columns(positions) if any_doubted(positions) else None
        except (ValueError, OverflowError) as error:
            raise RowsRefusedError(reason_of(error)) from error
        stored, faulty = await self._run(partial(self._insert, rows=rows, doubts=doubts, within_s=within_s))
        # Rows that were there already prove nothing: nothing had to be stored.
        self.passed += bool(stored)
        self._observer.inserted(stored)
        if faulty:
            self._observer.faulty(faulty)
        # Nearly always all are stored, and all is done by one statement.
        merged = await self._merge(rows, doubts) if stored < len(positions) else 0
        if merged:
            self._observer.merged(merged)
        self._observer.duplicates(len(positions) - stored - merged)

    async def _merge(self, rows: Columns, doubts: DoubtColumns | None) -> int:
        """Merge rows into stored ones, which is repeated by itself, so that no row counts twice."""
        failures = 0
        while True:
            try:
                return await self._run(partial(self._merger.merge, rows=rows, doubts=doubts))
            except WriteAbandoned:
                raise
            except Exception as error:
                failures += 1
                give_up_place()
                meaning = meaning_of(error)
                of_rows = meaning.may_be_of_rows and not meaning.of_the_server
                if of_rows and failures >= self._refuse_after and await self.others_pass(rows[0]):
                    logger.exception("records of stored rows are not merged into them and count as duplicates")
                    return 0
                await self.rest(error, failures, stuck=True)

    async def _run(
        self, statement: Callable[[PoolConnectionProxy[Any]], Awaitable[_Result]], *, within_s: float | None = None
    ) -> _Result:
        """Run a statement as soon as there is a connection for it: that there is none says nothing of the rows."""
        failures = 0
        while True:
            connected = False
            try:
                async with asyncio.timeout(within_s or self._attempt_timeout_s), self._postgres.acquire() as connection:
                    connected = True
                    answer = await statement(connection)
            except RowsRefusedError:
                raise
            except Exception as error:
                self._observer.retried(type(error).__name__)
                if connected:
                    raise
                failures += 1
                await self.rest(error, failures, stuck=True)
            else:
                self._accepted(failures)
                return answer

    def _accepted(self, failures: int) -> None:
        self._failure = None
        if failures:
            self._complained_at.clear()
            logger.info("Postgres accepts positions again, after %d failed attempts", failures)

    async def _insert(
        self,
        connection: PoolConnectionProxy[Any],
        rows: Columns,
        doubts: DoubtColumns | None,
        *,
        within_s: float | None,
    ) -> Stored:
        started_at = time.perf_counter()
        stored = await insert(connection, rows, doubts, within_s=within_s)
        self._observer.duration(time.perf_counter() - started_at)
        return stored

    # --- for trials ---

    async def try_to_store(self, positions: Sequence[Position], *, within_s: float | None = None) -> None:
        """Store positions by one statement, which takes turns with those of other trials."""
        async with self._one_trial:
            await self._attempt(positions, within_s=within_s)

    async def others_pass(self, devices: Iterable[str]) -> bool | None:
        """Whether a row of another device than these could be stored, once there is a connection; None = no row."""
        try:
            async with self._one_trial:
                return await self._run(partial(takes_a_row, devices=devices), within_s=_PROBE_TIMEOUT_S) or None
        except DATABASE_ERRORS as error:
            logger.debug("the probe fails too: %s", describe(error))
            return False

    async def rest(self, error: Exception, rests: int, *, stuck: bool) -> None:
        """Wait before the next attempt.

        Raises:
            WriteAbandoned: The application is stopping, at once when it does.
        """
        if stuck:
            self._complain(error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._backoff.wait_s(rests))
        if self._stopping.is_set():
            raise WriteAbandoned(describe(error)) from error

    def _complain(self, error: Exception) -> None:
        kind, meaning = type(error).__name__, meaning_of(error)
        self._failure = f"positions are not being written ({describe(error)}): {meaning.advice}"
        if self._is_news(kind):
            logger.log(
                meaning.severity, "positions are not being written, and wait (%s): %s", describe(error), meaning.advice
            )

    def _is_news(self, what: str) -> bool:
        """Tell whether it was not said for a while: an outage makes a few attempts a second."""
        now = time.monotonic()
        if now - self._complained_at.get(what, -COMPLAIN_EVERY_S) < COMPLAIN_EVERY_S:
            return False
        self._complained_at[what] = now
        return True


def _calls_for_trial(error: Exception, failures: int) -> bool:
    """Tell whether a statement that has failed so often is taken apart."""
    if isinstance(error, RowsRefusedError):
        return True
    meaning = meaning_of(error)
    return meaning.may_be_of_rows and failures >= meaning.patience
