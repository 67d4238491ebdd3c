"""The made-up place: river, lakes, woods, hills, roads and villages around the course that the demo's devices drive."""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING, Final

from telemetry_app.tools.place.features import Bounds, Feature, Place
from telemetry_app.tools.place.terrain import contours, height_m
from telemetry_app.tools.simulation.track import SKOPJE_LOOP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from telemetry_app.tools.place.terrain import Point

#: The middle of the course, and kilometres in a degree there.
_LONGITUDE, _LATITUDE = 21.4095, 41.9875
_KM_PER_LATITUDE: Final = 111.32
_KM_PER_LONGITUDE: Final = _KM_PER_LATITUDE * math.cos(math.radians(_LATITUDE))
_HALF_WIDTH, _HALF_HEIGHT = 9.0, 7.4
_CONTOUR_STEP_M, _INDEX_STEP_M = 25, 100

_RIVER: Final = (
    (-9.2, 3.1), (-7.6, 2.2), (-6.2, 2.4), (-4.9, 1.5), (-3.7, 1.35), (-2.7, 0.95), (-1.7, 0.51), (-0.9, 0.22),
    (-0.1, 0.3), (0.6, 0.1), (1.2, 0.35), (1.55, 0.47), (2.3, 0.95), (3.3, 0.85), (4.4, 1.35), (6.1, 1.2), (7.7, 1.9),
    (9.2, 1.7),
)  # fmt: skip
_BROOKS: Final = {
    "Orlov Brook": ((-0.2, -3.9), (0.3, -3.0), (0.1, -2.2), (-0.3, -1.4), (-0.35, -0.3)),
    "Kamen Brook": ((-4.6, -3.0), (-4.0, -1.9), (-3.2, -1.0), (-2.9, 0.1), (-2.7, 0.95)),
    "Mill Brook": ((3.6, 4.4), (3.4, 3.2), (2.7, 2.2), (2.4, 1.4), (2.3, 0.95)),
}
#: Middle, half width and half height.
_LAKES: Final = {
    "Mirno Lake": (-0.45, -0.25, 0.42, 0.17),
    "Dolno Lake": (4.6, -2.3, 0.75, 0.4),
    "Reed Ponds": (-5.6, 3.4, 0.45, 0.3),
}
_WOODS: Final = (
    (-1.6, -1.55, 1.0, 0.6), (0.2, -1.9, 1.1, 0.65), (2.3, -1.8, 0.8, 0.6), (-0.7, -3.1, 1.8, 1.0),
    (1.0, -0.35, 0.4, 0.25), (-3.0, -2.2, 0.9, 0.7), (-0.9, 1.75, 0.5, 0.3), (2.9, 1.9, 0.6, 0.4),
    (-2.6, -0.6, 0.35, 0.3), (-5.2, -3.4, 1.6, 1.1),
    (4.5, 5.0, 1.5, 0.9), (-3.6, 4.4, 1.4, 0.8), (6.8, -4.4, 1.7, 1.1), (-7.7, 1.0, 0.9, 0.7), (1.5, 4.3, 0.7, 0.6),
    (2.9, -4.6, 1.1, 0.8), (-7.2, -1.2, 0.6, 0.5), (7.3, 3.6, 0.7, 0.5),
)  # fmt: skip
_MEADOWS: Final = ((0.9, 0.75, 0.3, 0.14), (-1.2, -0.05, 0.3, 0.2), (-3.4, 2.1, 0.7, 0.4), (4.9, 2.2, 0.8, 0.4))
_ROADS: Final = (
    ("highway", "Northern Motorway", 6, (
        (-9.2, 0.9), (-6.5, 1.0), (-4.6, 2.3), (-2.2, 2.5), (0.1, 2.15), (2.2, 2.5), (4.7, 2.0), (6.9, 2.7), (9.2, 2.5),
    )),
    ("major_road", "Valley Road", 9, (
        (-9.2, -0.7), (-6.0, -0.9), (-4.2, 0.1), (-3.3, 0.15), (-1.93, 0.06))),
    ("major_road", "Lipovo Road", 9, (
        (1.94, 0.01), (2.7, -0.15), (3.6, -0.3), (5.2, -0.6), (7.2, -0.4), (9.2, -1.1))),
    ("major_road", "Brezovo Road", 9, ((-0.4, 1.04), (-0.1, 1.5), (0.1, 2.15), (0.6, 3.3), (0.4, 4.9), (1.1, 7.6))),
    ("minor_road", "Lake Lane", 12, ((-1.14, -0.67), (-1.0, -0.3), (-0.4, 0.0), (0.1, -0.2), (0.06, -0.82))),
    ("minor_road", "Foresters' Road", 12, (
        (0.71, -1.04), (0.9, -1.5), (0.4, -2.0), (0.9, -2.5), (0.2, -2.8), (0.5, -3.4), (-0.3, -3.7), (-0.6, -4.4))),
    ("minor_road", "Kamenica Road", 11, ((-3.3, 0.15), (-3.7, -0.9), (-4.5, -2.1), (-4.9, -4.6), (-4.2, -7.6))),
    ("minor_road", "Dolno Road", 11, ((3.6, -0.3), (3.9, -1.4), (3.7, -2.3), (4.4, -3.1), (4.8, -5.0), (4.4, -7.6))),
    ("path", "Ridge Path", 12, (
        (-1.7, -0.41), (-1.8, -1.1), (-1.4, -1.7), (-1.6, -2.5), (-1.1, -3.3), (-0.6, -4.4), (-0.9, -5.6), (-0.2, -7.6),
    )),
    ("path", "River Path", 12, ((-1.7, 0.4), (-0.9, 0.1), (-0.1, 0.17), (0.6, -0.03), (1.2, 0.22), (1.75, 0.4))),
)  # fmt: skip
_RAILWAY: Final = ((-9.2, 1.9), (-6.8, 1.7), (-4.2, 1.75), (-2.0, 1.5), (0.0, 1.85), (2.1, 1.5), (4.2, 1.7), (9.2, 2.1))
#: Where its streets begin, how many there are and how far apart, what it is called, its rank by inhabitants.
_VILLAGES: Final = (
    (3.2, -0.75, 7, 5, "Lipovo", 8),
    (-3.75, 0.2, 4, 3, "Gorno Selo", 5),
    (-0.65, 1.2, 3, 2, "Brezovo", 4),
    (-5.0, -2.5, 3, 3, "Kamenica", 4),
    (5.6, 3.0, 4, 3, "Stara Mila", 5),
    (-7.4, 3.9, 3, 3, "Vrba", 3),
)
_BLOCK: Final = 0.16
_PEAKS: Final = (("Orlov Peak", -0.6, -4.4), ("Kamen", -5.4, -3.6), ("Sokol", 4.6, 5.2), ("Golem Rid", -3.6, 4.6))


def _place(point: Point) -> Place:
    x, y = point
    return _LONGITUDE + x / _KM_PER_LONGITUDE, _LATITUDE + y / _KM_PER_LATITUDE


BOUNDS: Final[Bounds] = (*_place((-_HALF_WIDTH, -_HALF_HEIGHT)), *_place((_HALF_WIDTH, _HALF_HEIGHT)))


def draw() -> list[Feature]:
    """Return all of the place, in the order in which it is drawn; the same each time."""
    # Wobbles, not a secret.
    rng = random.Random(18)  # noqa: S311
    return [*_land(rng), *_water(rng), *_contours(), *_roads(), *_villages(rng), *_names()]


def _area(layer: str, kind: str, ring: Iterable[Point], min_zoom: int = 0) -> Feature:
    return Feature(layer, "area", tuple(map(_place, ring)), {"kind": kind}, min_zoom)


def _line(layer: str, kind: str, line: Iterable[Point], min_zoom: int, **more: str | int) -> Feature:
    return Feature(layer, "line", tuple(map(_place, line)), {"kind": kind, "min_zoom": min_zoom, **more}, min_zoom)


def _point(layer: str, kind: str, point: Point, min_zoom: int, **more: str | int) -> Feature:
    return Feature(layer, "point", (_place(point),), {"kind": kind, "min_zoom": min_zoom, **more}, min_zoom)


def _land(rng: random.Random) -> Iterator[Feature]:
    half = (_HALF_WIDTH, _HALF_HEIGHT)
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    yield _area("earth", "earth", [(x * half[0], y * half[1]) for x, y in corners])
    for wood in _WOODS:
        yield _area("landuse", "wood", _blob(rng, *wood), 8)
    for meadow in _MEADOWS:
        yield _area("landuse", "grassland", _blob(rng, *meadow), 10)


def _water(rng: random.Random) -> Iterator[Feature]:
    river = _curve(_RIVER)
    yield _area("water", "river", _widened(river, 0.035), 9)
    yield _line("water", "river", river, 7, name="Vardar")
    for name, brook in _BROOKS.items():
        yield _line("water", "stream", _curve(brook), 12, name=name)
    for name, lake in _LAKES.items():
        yield _area("water", "lake", _blob(rng, *lake), 8)
        yield _point("water", "lake", lake[:2], 12, name=name)


def _contours() -> Iterator[Feature]:
    for level, line in contours(itertools.count(0, _CONTOUR_STEP_M), _HALF_WIDTH, _HALF_HEIGHT):
        min_zoom = 11 if level % _INDEX_STEP_M == 0 else 12
        yield _line("contours", "contour", line, min_zoom, elevation=level)


def _roads() -> Iterator[Feature]:
    loop = [
        ((lon - _LONGITUDE) * _KM_PER_LONGITUDE, (lat - _LATITUDE) * _KM_PER_LATITUDE)
        for lat, lon in (*SKOPJE_LOOP, SKOPJE_LOOP[0])
    ]
    yield _line("roads", "rail", _curve(_RAILWAY), 10)
    for kind, name, min_zoom, line in _ROADS:
        # The course goes from corner to corner, all other roads are laid in curves.
        yield _line("roads", kind, _curve(line), min_zoom, name=name, kind_detail=kind)
    yield _line("roads", "major_road", loop, 9, name="Race Road", kind_detail="tertiary")


def _villages(rng: random.Random) -> Iterator[Feature]:
    for west, south, columns, rows, name, rank in _VILLAGES:
        east, north = west + columns * _BLOCK, south + rows * _BLOCK
        for column in range(columns + 1):
            x = west + column * _BLOCK
            yield _line("roads", "minor_road", ((x, south), (x, north)), 12, kind_detail="residential")
        for row in range(rows + 1):
            y = south + row * _BLOCK
            yield _line("roads", "minor_road", ((west, y), (east, y)), 12, kind_detail="residential")
        for column, row in itertools.product(range(columns), range(rows)):
            yield from _houses(rng, west + column * _BLOCK, south + row * _BLOCK)
        middle = ((west + east) / 2, (south + north) / 2)
        yield _point("places", "locality", middle, 12 - rank // 2, name=name, population_rank=rank)


def _houses(rng: random.Random, west: float, south: float) -> Iterator[Feature]:
    for column, row in itertools.product((0.02, 0.065, 0.11), (0.025, 0.095)):
        if rng.random() < 0.75:  # noqa: PLR2004 - a quarter are gardens
            x, y = west + column, south + row
            width, height = rng.uniform(0.014, 0.03), rng.uniform(0.014, 0.032)
            ring = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
            yield _area("buildings", "building", ring, 13)


def _names() -> Iterator[Feature]:
    for name, x, y in _PEAKS:
        yield _point("pois", "peak", (x, y), 11, name=f"{name} {round(height_m(x, y))} m")


def _blob(rng: random.Random, x: float, y: float, half_width: float, half_height: float) -> list[Point]:
    """Return an ellipse with a wobbly edge."""
    waves = [(count, rng.uniform(0, 0.32 / count), rng.uniform(0, math.tau)) for count in range(2, 8)]
    ring: list[Point] = []
    for step in range(48):
        angle = math.tau * step / 48
        radius = 1 + sum(size * math.sin(count * angle + phase) for count, size, phase in waves)
        ring.append((x + radius * half_width * math.cos(angle), y + radius * half_height * math.sin(angle)))
    return ring


def _curve(points: Sequence[Point], steps: int = 8) -> list[Point]:
    """Return a smooth line through points (Catmull and Rom)."""
    padded = (points[0], *points, points[-1])
    line: list[Point] = []
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for share in (step / steps for step in range(steps)):
            x, y = (
                start[axis]
                + 0.5 * share * (end[axis] - before[axis])
                + share**2 * (before[axis] - 2.5 * start[axis] + 2 * end[axis] - 0.5 * after[axis])
                + share**3 * (1.5 * (start[axis] - end[axis]) + 0.5 * (after[axis] - before[axis]))
                for axis in (0, 1)
            )
            line.append((x, y))
    return [*line, points[-1]]


def _widened(line: Sequence[Point], half_width: float) -> list[Point]:
    """Return the area along a line."""
    left: list[Point] = []
    right: list[Point] = []
    for (x0, y0), (x, y), (x1, y1) in zip((line[0], *line), line, (*line[1:], line[-1]), strict=False):
        length = math.dist((x0, y0), (x1, y1))
        across = (-(y1 - y0) / length * half_width, (x1 - x0) / length * half_width)
        left.append((x + across[0], y + across[1]))
        right.append((x - across[0], y - across[1]))
    return [*left, *reversed(right)]
