"""Hills, and the lines on which they are equally high. Lengths are in kilometres from the middle of the course."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Point = tuple[float, float]
#: Column and row of a point of the grid.
Corner = tuple[int, int]

_VALLEY_M: Final = 240.0
#: Distance between two points at which the height is asked for.
_STEP: Final = 0.2


class _Hill(NamedTuple):
    x: float
    y: float
    height_m: float
    width: float


_HILLS: Final = (
    _Hill(-0.6, -4.4, 690, 2.3),
    _Hill(-1.6, -2.6, 120, 0.9),
    _Hill(1.9, -2.7, 160, 1.1),
    _Hill(-5.4, -3.6, 380, 1.8),
    _Hill(4.6, 5.2, 310, 2.0),
    _Hill(-3.6, 4.6, 270, 1.7),
    _Hill(6.8, -4.6, 330, 2.2),
    _Hill(-8.0, 1.5, 210, 1.5),
)


class _Cell(NamedTuple):
    corners: tuple[Corner, Corner, Corner, Corner]
    low_m: float
    high_m: float


def height_m(x: float, y: float) -> float:
    """Return the height above the sea."""
    hills = sum(hill.height_m * math.exp(-(math.dist((x, y), hill[:2]) ** 2) / hill.width**2) for hill in _HILLS)
    return _VALLEY_M + hills + 14 * math.sin(1.7 * x + 0.6 * math.sin(2.1 * y)) * math.cos(1.3 * y)


def contours(levels_m: Iterable[int], half_width: float, half_height: float) -> Iterator[tuple[int, list[Point]]]:
    """Give the lines on which the land around the middle is as high as each level."""
    columns, rows = round(2 * half_width / _STEP), round(2 * half_height / _STEP)
    grid = {
        (column, row): height_m(column * _STEP - half_width, row * _STEP - half_height)
        for column, row in itertools.product(range(columns + 1), range(rows + 1))
    }
    cells = list(_cells(grid))
    for level in itertools.takewhile(lambda level: level < max(grid.values()), levels_m):
        for line in _lines(_segments(grid, cells, level)):
            yield level, [(column * _STEP - half_width, row * _STEP - half_height) for column, row in line]


def _cells(grid: Mapping[Corner, float]) -> Iterator[_Cell]:
    for column, row in grid:
        corners = ((column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1))
        if corners[2] in grid:
            heights = [grid[corner] for corner in corners]
            yield _Cell(corners, min(heights), max(heights))


def _segments(grid: Mapping[Corner, float], cells: Iterable[_Cell], level: int) -> Iterator[tuple[Point, Point]]:
    """Give where a level crosses each cell: once, or at a saddle twice. Places are in cells."""
    for corners, low, high in cells:
        if low <= level < high:
            crossed = [
                _crossing(one, other, grid, level)
                for one, other in zip(corners, (*corners[1:], corners[0]), strict=True)
                if (grid[one] > level) != (grid[other] > level)
            ]
            yield from zip(crossed[::2], crossed[1::2], strict=True)


def _crossing(one: Corner, other: Corner, grid: Mapping[Corner, float], level: int) -> Point:
    # From the same end for both cells that share the edge, so that both find the same point.
    low, high = min(one, other), max(one, other)
    share = (level - grid[low]) / (grid[high] - grid[low])
    return low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1])


def _lines(segments: Iterable[tuple[Point, Point]]) -> Iterator[list[Point]]:
    """Join segments that meet."""
    following: dict[Point, list[Point]] = {}
    for start, end in segments:
        following.setdefault(start, []).append(end)
        following.setdefault(end, []).append(start)
    # Lines that end at the edge begin there, what is left are rings.
    for first in sorted(following, key=lambda point: (len(following[point]), point)):
        if line := list(_walk(following, first)):
            yield [first, *line]


def _walk(following: dict[Point, list[Point]], at: Point) -> Iterator[Point]:
    while following[at]:
        to = following[at].pop()
        following[to].remove(at)
        yield to
        at = to
