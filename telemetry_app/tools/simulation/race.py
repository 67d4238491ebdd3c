from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from telemetry_app.tools.simulation.awkward import FAULTS, HABITS, PERIOD_TICKS, AwkwardTracker, Turn
from telemetry_app.tools.simulation.imei import imei
from telemetry_app.tools.simulation.record import Kind
from telemetry_app.tools.simulation.track import Track
from telemetry_app.tools.simulation.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from telemetry_app.tools.simulation.record import Record

# Nothing is odd about the first tick: there is no last position and no last packet yet.
_FIRST_PHASE = 1


class Race:
    """Devices that drive round a track and send records, some of them as awkwardly as real trackers do.

    The same arguments give the same race, byte for byte. Nothing is read from clocks.

    Args:
        devices: How many.
        hz: Records a second of each.
        seed: Of everything that looks random.
        start: Time of the first tick, aware, in UTC.
        track: Driven by all of them.

    Attributes:
        device_ids: Their IMEIs.
        hz: Ticks a second.
    """

    def __init__(self, devices: int, hz: float, *, seed: int = 1, start: datetime, track: Track | None = None) -> None:
        self.hz = hz
        self.device_ids = [imei(number) for number in range(devices)]
        self._start = start
        self._tick = 0
        track = track or Track()
        rng = random.Random(seed)  # noqa: S311 - a race, not a secret
        self._trackers = [
            Tracker(device_id, track, rng.uniform(0, track.length_m), random.Random(rng.getrandbits(64)))  # noqa: S311 - the same
            for device_id in self.device_ids
        ]
        self._awkward = [
            AwkwardTracker(tracker, turns) for tracker, turns in zip(self._trackers, _turns(devices, rng), strict=True)
        ]
        # Trackers are not synchronised: each sends at a moment of its own within the tick that ends now.
        self._lag = [timedelta(milliseconds=int(rng.uniform(0, 1000 / hz))) for _ in self.device_ids]

    def tick(self) -> list[Record]:
        """Return the records that reach the server at the next tick, in order of arrival."""
        tick, self._tick = self._tick, self._tick + 1
        records: list[Record] = []
        for index, awkward in enumerate(self._awkward):
            reading = self._trackers[index].drive(self._time(tick, index), 1 / self.hz)
            records += awkward.send(tick, reading)
        return records

    def backlog(self, records: int) -> Iterator[Record]:
        """Yield what the devices would have sent before the start, oldest first; to be called before the first tick."""
        ticks = -(-records // len(self.device_ids))
        for number in range(records):
            tick, index = divmod(number, len(self.device_ids))
            tracker = self._trackers[index]
            yield tracker.record(tracker.drive(self._time(tick - ticks, index), 1 / self.hz), Kind.BACKLOG)

    def _time(self, tick: int, index: int) -> datetime:
        exact = self._start + timedelta(seconds=tick / self.hz) - self._lag[index]
        return exact.replace(microsecond=exact.microsecond // 1000 * 1000)


def _turns(devices: int, rng: random.Random) -> list[list[Turn]]:
    """Return each device's turn for each habit.

    The turns of a habit are spread evenly over the period. The order of the devices is shuffled, and starts elsewhere
    for each habit, so that hardly ever two come over a device at once.
    """
    habits = len(FAULTS) + len(HABITS)
    ranks = rng.sample(range(devices), devices)
    return [[_turn((rank + devices * habit // habits) % devices, devices) for habit in range(habits)] for rank in ranks]


def _turn(rank: int, devices: int) -> Turn:
    return Turn(_FIRST_PHASE + rank * PERIOD_TICKS // devices, rank % 2)
