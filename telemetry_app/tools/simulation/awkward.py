"""What real trackers do besides sending a record a second.

Each habit comes over every device once in `PERIOD_TICKS`. The devices take turns, so that every habit is seen soon,
and its share of the traffic is the same in every part of a race that is long enough.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from telemetry_app.tools.simulation.record import Kind, Record
from telemetry_app.tools.simulation.tracker import Reading, Tracker, after_reboot, with_clock_ahead, without_fix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PERIOD_TICKS = 400
# Ticks (or records) in a row; divided by the period, these are the shares of the traffic: 2 %, 1 %, 2 % and 1 %.
OUTAGE_TICKS = 8
RESENT_RECORDS = 4
NO_FIX_TICKS = 8
CLOCK_AHEAD_TICKS = 4
CLOCK_AHEAD = timedelta(days=3 * 365)


class Turn(NamedTuple):
    """When a habit comes over a device.

    Attributes:
        phase: Tick at which its first turn begins.
        variant: Which of two variants of a habit comes first.
    """

    phase: int
    variant: int

    def is_on(self, tick: int, length: int) -> bool:
        """Tell whether `tick` is one of the `length` ticks of a turn."""
        return tick >= self.phase and (tick - self.phase) % PERIOD_TICKS < length

    def is_second_variant(self, tick: int) -> bool:
        """Tell which variant the turn at, or last before, `tick` has; they alternate."""
        return ((tick - self.phase) // PERIOD_TICKS + self.variant) % 2 == 1


class Fault(Protocol):
    """Something wrong with what a tracker measures."""

    def measure(self, tick: int, reading: Reading) -> tuple[Reading, Kind] | None:
        """Return the wrong reading and its kind, or None while all is well."""


class NoFix:
    """Lose the satellites: the last position again and again; each second time after a reboot, 0/0."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._last: Reading | None = None

    def measure(self, tick: int, reading: Reading) -> tuple[Reading, Kind] | None:
        """Return the reading of a receiver without a fix."""
        if not self._turn.is_on(tick, NO_FIX_TICKS) or self._last is None:
            self._last = reading
            return None
        blind = self._last._replace(ts=reading.ts)
        rebooted = self._turn.is_second_variant(tick)
        return (after_reboot(blind) if rebooted else without_fix(blind)), Kind.NO_FIX


class ClockAhead:
    """Run three years ahead, until the next fix puts the clock right; such records are refused."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def measure(self, tick: int, reading: Reading) -> tuple[Reading, Kind] | None:
        """Return the reading with a time that has not come yet."""
        if not self._turn.is_on(tick, CLOCK_AHEAD_TICKS):
            return None
        return with_clock_ahead(reading, CLOCK_AHEAD), Kind.CLOCK_AHEAD


class Habit(Protocol):
    """Something odd in how a tracker sends its records."""

    def send(self, tick: int, records: list[Record]) -> list[Record]:
        """Return what goes out instead of `records`."""


class Outage:
    """Be out of coverage, then upload everything in bulk: newest first at each second time, else in order."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._buffer: list[Record] = []

    def send(self, tick: int, records: list[Record]) -> list[Record]:
        """Hold the records back, or return them after those held back before."""
        if self._turn.is_on(tick, OUTAGE_TICKS):
            self._buffer += records
            return []
        if not self._buffer:
            return records
        upload = [_relabelled(record, Kind.LATE) for record in self._buffer]
        self._buffer = []
        if self._turn.is_second_variant(tick):
            upload.reverse()
        return [*upload, *records]


class Resend:
    """Miss the server's answer and send the last packet again: exact duplicates."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._sent: deque[Record] = deque(maxlen=RESENT_RECORDS)

    def send(self, tick: int, records: list[Record]) -> list[Record]:
        """Return the last records sent, now and then, before the new ones."""
        again = list(self._sent) if self._turn.is_on(tick, 1) else []
        self._sent.extend(records)
        return [*(_relabelled(record, Kind.RESENT) for record in again), *records]


def _relabelled(record: Record, kind: Kind) -> Record:
    # Whatever happens to it, a record of a clock ahead is refused; and one uploaded late without a fix stays that.
    if record.kind is Kind.CLOCK_AHEAD or (record.kind is Kind.NO_FIX and kind is Kind.LATE):
        return record
    return record._replace(kind=kind)


# The mix: what may be wrong with a reading (the first that is wins), then what happens on its way out, in this order.
FAULTS: tuple[Callable[[Turn], Fault], ...] = (ClockAhead, NoFix)
HABITS: tuple[Callable[[Turn], Habit], ...] = (Outage, Resend)


class AwkwardTracker:
    """A tracker with all the faults and habits, each in a turn of its own.

    Args:
        tracker: The well-behaved one inside.
        turns: One for each of `FAULTS` and then of `HABITS`.
    """

    def __init__(self, tracker: Tracker, turns: Sequence[Turn]) -> None:
        self._tracker = tracker
        self._faults = [fault(turn) for fault, turn in zip(FAULTS, turns, strict=False)]
        self._habits = [habit(turn) for habit, turn in zip(HABITS, turns[len(FAULTS) :], strict=True)]

    def send(self, tick: int, reading: Reading) -> list[Record]:
        """Return the records that leave the tracker at `tick`."""
        measured = [wrong for fault in self._faults if (wrong := fault.measure(tick, reading))]
        records = [self._tracker.record(*(measured[0] if measured else (reading, Kind.LIVE)))]
        for habit in self._habits:
            records = habit.send(tick, records)
        return records
