"""The road that the simulated devices drive round and round."""

from __future__ import annotations

import bisect
import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_METRES_PER_DEGREE = 111_320.0

# Latitude, longitude: down to the Vardar and back over the foot of Vodno, south-west of Skopje.
SKOPJE_LOOP = (
    (41.9900, 21.4300),
    (41.9935, 21.4236),
    (41.9961, 21.4150),
    (41.9968, 21.4047),
    (41.9949, 21.3952),
    (41.9921, 21.3891),
    (41.9880, 21.3862),
    (41.9838, 21.3889),
    (41.9815, 21.3957),
    (41.9822, 21.4036),
    (41.9801, 21.4102),
    (41.9782, 21.4181),
    (41.9799, 21.4268),
    (41.9841, 21.4321),
    (41.9876, 21.4329),
)


class Place(NamedTuple):
    """A point of the track and the direction in which it is driven, degrees clockwise from north."""

    latitude: float
    longitude: float
    course: float


class _Leg(NamedTuple):
    begin_m: float
    length_m: float
    start: tuple[float, float]
    end: tuple[float, float]
    course: float


class Track:
    """A closed polyline, by distance.

    Args:
        corners: At least two different points, latitude and longitude in degrees; the last is joined to the first.

    Attributes:
        length_m: Once round.
    """

    def __init__(self, corners: Sequence[tuple[float, float]] = SKOPJE_LOOP) -> None:
        self._legs: list[_Leg] = []
        self.length_m = 0.0
        for start, end in itertools.pairwise([*corners, corners[0]]):
            leg = _leg(self.length_m, start, end)
            self._legs.append(leg)
            self.length_m += leg.length_m
        self._begins = [leg.begin_m for leg in self._legs]

    def place(self, distance_m: float) -> Place:
        """Return where one is after `distance_m`, however many rounds that is."""
        along_m = distance_m % self.length_m
        leg = self._legs[bisect.bisect_right(self._begins, along_m) - 1]
        share = (along_m - leg.begin_m) / leg.length_m
        return Place(
            leg.start[0] + share * (leg.end[0] - leg.start[0]),
            leg.start[1] + share * (leg.end[1] - leg.start[1]),
            leg.course,
        )


def _leg(begin_m: float, start: tuple[float, float], end: tuple[float, float]) -> _Leg:
    # A few kilometres are flat enough.
    north_m = (end[0] - start[0]) * _METRES_PER_DEGREE
    east_m = (end[1] - start[1]) * _METRES_PER_DEGREE * math.cos(math.radians(start[0]))
    course = math.degrees(math.atan2(east_m, north_m)) % 360
    return _Leg(begin_m, math.hypot(north_m, east_m), start, end, course)
