"""Cutting features into vector tiles (Mapbox Vector Tile 2.1)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from telemetry_app.tools.place.clipping import clip_area, clip_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from telemetry_app.tools.place.clipping import Box, Point
    from telemetry_app.tools.place.features import Bounds, Feature, Place, Value

#: Units across a tile, and how far beyond it is drawn, so that edges do not show.
_EXTENT: Final = 4096
_BUFFER: Final = 80
_KINDS: Final = {"point": 1, "line": 2, "area": 3}
_MOVE_TO, _LINE_TO, _CLOSE = 1, 2, 7

#: Zoom, column and row.
Tile = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Shape:
    """A feature at one zoom: its points in units of tiles from the north-west corner of the world, and their box."""

    feature: Feature
    points: list[Point]
    box: Box


def cut(features: Sequence[Feature], bounds: Bounds, zooms: Iterable[int]) -> Iterator[tuple[Tile, bytes]]:
    """Give every tile of an area that has something in it, with its content."""
    west, south, east, north = bounds
    for zoom in zooms:
        shapes = [_shape(feature, zoom) for feature in features if feature.min_zoom <= zoom]
        (left, top), (right, bottom) = _project((west, north), zoom), _project((east, south), zoom)
        for column, row in itertools.product(_tiles(left, right), _tiles(top, bottom)):
            if content := _encode(shapes, column * _EXTENT, row * _EXTENT):
                yield (zoom, column, row), content


def _tiles(low: float, high: float) -> range:
    """Return the columns or rows of tiles between two edges."""
    return range(int(low) // _EXTENT, int(high) // _EXTENT + 1)


def _shape(feature: Feature, zoom: int) -> _Shape:
    points = [_project(place, zoom) for place in feature.places]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return _Shape(feature, points, (min(xs), min(ys), max(xs), max(ys)))


def _project(place: Place, zoom: int) -> Point:
    longitude, latitude = place
    size = _EXTENT << zoom
    x = (longitude + 180) / 360 * size
    y = (1 - math.asinh(math.tan(math.radians(latitude))) / math.pi) / 2 * size
    return x, y


def _encode(shapes: Iterable[_Shape], left: int, top: int) -> bytes:
    """Return a tile; empty when nothing lies in it."""
    layers: dict[str, _Layer] = {}
    box = (left - _BUFFER, top - _BUFFER, left + _EXTENT + _BUFFER, top + _EXTENT + _BUFFER)
    for shape in shapes:
        if all(shape.box[axis] <= box[axis + 2] and shape.box[axis + 2] >= box[axis] for axis in (0, 1)):
            feature = shape.feature
            paths = [_rounded(path, left, top) for path in _clip(feature, shape.points, box)]
            layers.setdefault(feature.layer, _Layer(feature.layer)).add(feature, paths)
    return b"".join(_field(3, layer.encode()) for layer in layers.values() if layer.features)


def _clip(feature: Feature, points: Sequence[Point], box: Box) -> list[list[Point]]:
    if feature.kind == "area":
        return [clip_area(points, box)]
    if feature.kind == "line":
        return list(clip_line(points, box))
    # A point belongs to one tile, or its text would be written twice.
    (point,) = points
    low = (box[0] + _BUFFER, box[1] + _BUFFER)
    inside = all(edge <= at < edge + _EXTENT for at, edge in zip(point, low, strict=True))
    return [[point]] if inside else []


def _rounded(path: Sequence[Point], left: int, top: int) -> list[tuple[int, int]]:
    """Return a path in whole units from the corner of its tile, without repetitions."""
    return [point for point, _ in itertools.groupby((round(x) - left, round(y) - top) for x, y in path)]


class _Layer:
    """One layer of a tile."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._keys: dict[str, int] = {}
        self._values: dict[Value, int] = {}
        self.features: list[bytes] = []

    def add(self, feature: Feature, paths: Iterable[list[tuple[int, int]]]) -> None:
        """Add what lies in the tile of a feature; nothing where nothing does."""
        geometry = _geometry(feature, paths)
        if geometry:
            self.features.append(
                _packed(2, self._tags(feature.properties)) + _number(3, _KINDS[feature.kind]) + _packed(4, geometry)
            )

    def _tags(self, properties: Mapping[str, Value]) -> list[int]:
        tags: list[int] = []
        for key, value in properties.items():
            tags += (
                self._keys.setdefault(key, len(self._keys)),
                self._values.setdefault(value, len(self._values)),
            )
        return tags

    def encode(self) -> bytes:
        """Return the layer as it stands in a tile."""
        parts = [_number(15, 2), _field(1, self._name.encode())]
        parts += (_field(2, feature) for feature in self.features)
        parts += (_field(3, key.encode()) for key in self._keys)
        parts += (_field(4, _value(value)) for value in self._values)
        return b"".join((*parts, _number(5, _EXTENT)))


def _geometry(feature: Feature, paths: Iterable[list[tuple[int, int]]]) -> list[int]:
    """Return commands and steps from point to point."""
    commands: list[int] = []
    at = (0, 0)
    least = _KINDS[feature.kind]
    for path in paths:
        ring = path[:-1] if feature.kind == "area" and path[:1] == path[-1:] else path
        if len(ring) < least:
            continue
        if feature.kind == "area" and _twice_area(ring) < 0:
            ring = ring[::-1]
        for number, point in enumerate(ring):
            if number == 0:
                commands.append(_MOVE_TO | 1 << 3)
            elif number == 1:
                commands.append(_LINE_TO | len(ring) - 1 << 3)
            commands += (_zigzag(point[axis] - at[axis]) for axis in (0, 1))
            at = point
        if feature.kind == "area":
            commands.append(_CLOSE | 1 << 3)
    return commands


def _twice_area(ring: Sequence[tuple[int, int]]) -> int:
    """Return the area of a ring, above zero when it goes clockwise on the screen."""
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(ring, (*ring[1:], ring[0]), strict=True))


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def varint(number: int) -> bytes:
    """Return a number as Protocol Buffers write it."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits in each byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _number(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def _field(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def _packed(field: int, numbers: Iterable[int]) -> bytes:
    return _field(field, b"".join(map(varint, numbers)))


def _value(value: Value) -> bytes:
    return _field(1, value.encode()) if isinstance(value, str) else _number(5, value)
