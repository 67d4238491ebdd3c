"""A batch that the database does not take: which of its rows are to blame, and which can be stored."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from telemetry_app.core.place import give_up_place
from telemetry_app.core.positions.insert import RowsRefusedError, reason_of
from telemetry_app.core.sink import Refused, WriteAbandoned
from telemetry_app.database.errors import TIMED_OUT, describe, meaning_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telemetry_app.records.position import Position

#: What ran into the statement timeout is given this long in smaller pieces, while other rows pass; a row alone is
#: given longer each time. With the whole timeout, which is ten times as long, finding one row takes minutes.
_SHORT_TRY_S: Final = 2.0


class Tries(Protocol):
    """What a trial needs of the writer."""

    @property
    def passed(self) -> int:
        """How many statements the database has taken so far, of whatever batch."""

    async def try_to_store(self, positions: Sequence[Position], *, within_s: float | None = None) -> None:
        """Store positions by one statement, or raise what the database says."""

    async def others_pass(self, devices: Iterable[str]) -> bool | None:
        """Whether the database takes a row once it can be asked, of another device than these if it has one.

        None = it has no row to try that with.
        """

    async def rest(self, error: Exception, rests: int, *, stuck: bool) -> None:
        """Wait, the longer the more rests there were; raises `WriteAbandoned` when the application stops."""


class _Suspect:
    """A row that failed alone; `failures` counts the times after which others passed."""

    __slots__ = ("error", "failures", "index")

    def __init__(self, index: int, error: Exception) -> None:
        self.index = index
        self.error = error
        self.failures = 0 if meaning_of(error).of_the_server else 1


class Trial:
    """Halves a batch until what fails is single rows, stores the others, and tells a bad row from a bad database.

    Whatever the error: a row is refused once it has failed alone `refuse_after` times and after each of these others
    passed, as neighbours, as rows of other batches or, in a quiet stream, as a probe. While nothing passes it is the
    database's state that is at fault: nothing is refused, and everything waits. Values that no column can hold
    (`Outlook.REFUSED`) are refused at once, unless the same is said of rows that are stored: of a trigger's mistake.

    Args:
        tries: Stores, probes and waits.
        positions: The batch.
        error: Why it was not taken.
        refuse_after: Failures of one row.
        start: Index of the first position in the write.

    Attributes:
        stuck: Whether nothing passes at the moment.
        error: The last failure.
    """

    def __init__(
        self, tries: Tries, positions: Sequence[Position], error: Exception, *, refuse_after: int, start: int
    ) -> None:
        self._tries = tries
        self._positions = positions
        self._refuse_after = refuse_after
        self._start = start
        self._pieces: deque[Sequence[int]] = deque(_halves(range(len(positions))))
        self._suspects: list[_Suspect] = []
        self._refused: list[Refused] = []
        self._rests = 0
        self._passed_at_start = self._passed_at_failure = tries.passed
        self._takes_others = False
        self.error = error
        self.stuck = False

    async def run(self) -> list[Refused]:
        """Store what can be stored, and return the rows that cannot.

        Raises:
            WriteAbandoned: The application is stopping.
        """
        if not self._pieces:
            await self._fail_alone(0, self.error)
        while self._pieces or self._suspects:
            if self._pieces:
                await self._try_next_piece()
            else:
                await self._judge()
        return self._refused

    async def _try_next_piece(self) -> None:
        piece = self._pieces.popleft()
        error = await self._try(piece)
        if error is None:
            return
        if not meaning_of(error).may_be_of_rows:
            self._pieces.appendleft(piece)
            await self._rest()
            return
        if len(piece) > 1:
            self._pieces.extendleft(reversed(_halves(piece)))
        else:
            await self._fail_alone(piece[0], error)
            if self._suspects and not await self._others_pass():
                self._blame_nobody()
        if self.stuck:
            await self._rest()

    async def _judge(self) -> None:
        """Look at the rows that failed alone once more, and refuse those that have done so often enough."""
        due = [suspect for suspect in self._suspects if suspect.failures >= self._refuse_after]
        if not due and not self.stuck:
            await self._rest()
        if await self._others_pass():
            self.stuck = False
            for suspect in due:
                self._suspects.remove(suspect)
                self._refuse(suspect.index, suspect.error)
            await self._try_suspects(self._suspects.copy(), count=1)
        else:
            self._blame_nobody()
            # Another one each time: what keeps the first one from passing may be its own fault after all.
            self._suspects.append(self._suspects.pop(0))
            await self._try_suspects(self._suspects[-1:], count=0)
            if self.stuck:
                await self._rest()

    async def _try_suspects(self, suspects: Iterable[_Suspect], *, count: int) -> None:
        for suspect in suspects:
            if suspect not in self._suspects:  # a success while stuck made pieces of them all
                return
            error = await self._try([suspect.index], suspect)
            if error is None:
                continue
            if not meaning_of(error).may_be_of_rows:
                return
            suspect.error = error
            if not meaning_of(error).of_the_server:
                suspect.failures += count

    async def _try(self, piece: Sequence[int], suspect: _Suspect | None = None) -> Exception | None:
        """Store rows; return what the database says against it."""
        # Whoever keeps a batch in trouble keeps nobody else from the database.
        give_up_place()
        short = not self.stuck and getattr(self.error, "sqlstate", None) == TIMED_OUT
        within_s = _SHORT_TRY_S * (suspect.failures if suspect else 1) if short else None
        try:
            await self._tries.try_to_store([self._positions[index] for index in piece], within_s=within_s)
        except WriteAbandoned:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is judged by whether others pass
            self._passed_at_failure = self._tries.passed
            self.error = error
            return error
        if suspect is not None:
            self._suspects.remove(suspect)
        self._rests = 0
        if self.stuck:
            self._begin_anew()
        return None

    def _begin_anew(self) -> None:
        """Take what is left as one piece: what kept the rows from passing was not theirs, and single rows are slow."""
        self.stuck = False
        rest = sorted([suspect.index for suspect in self._suspects] + [i for piece in self._pieces for i in piece])
        self._suspects.clear()
        self._pieces.clear()
        if rest:
            self._pieces.append(rest)

    def _blame_nobody(self) -> None:
        """Count no failure after which nothing passed: when the database is in order again, these rows may be, too."""
        self.stuck = True
        for suspect in self._suspects:
            suspect.failures = 0

    async def _others_pass(self) -> bool | None:
        if self._tries.passed > self._passed_at_failure:
            return True
        return await self._tries.others_pass({self._positions[suspect.index].device_id for suspect in self._suspects})

    async def _rest(self) -> None:
        self._rests += 1
        await self._tries.rest(self.error, self._rests, stuck=self.stuck)

    async def _fail_alone(self, index: int, error: Exception) -> None:
        suspect = _Suspect(index, error)
        self._suspects.append(suspect)
        if not isinstance(error, RowsRefusedError):
            return
        if not self._takes_others:
            some_passed = self._tries.passed > self._passed_at_start
            self._takes_others = some_passed or await self._others_pass() is not False
            if not self._takes_others:
                return
            # What refused the row may have been mended before the others passed.
            if not isinstance(await self._try([index], suspect), RowsRefusedError):
                return
        self._suspects.remove(suspect)
        self._refuse(index, error)

    def _refuse(self, index: int, error: Exception) -> None:
        reason = str(error) if isinstance(error, RowsRefusedError) else reason_of(error)
        self._refused.append(Refused(self._start + index, reason))

    def describe(self) -> str:
        """Return what is in trouble, and why."""
        rows = len(self._suspects) + sum(map(len, self._pieces))
        return f"{rows} rows in trouble ({describe(self.error)})"


def _halves(indexes: Sequence[int]) -> list[Sequence[int]]:
    middle = len(indexes) // 2
    return [indexes[:middle], indexes[middle:]] if middle else []
