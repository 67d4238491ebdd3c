"""GPX, the way in which people draw and record courses: read as GeoJSON, and thinned to what a map needs."""

from __future__ import annotations

import heapq
import itertools
import math
import re
from typing import TYPE_CHECKING, Any, Final
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Longest file that is read. A point of a track takes about 100 bytes.
MAX_BYTES: Final = 32 * 1024 * 1024
#: Deeper than this, extensions are left out of what programs write.
_MAX_DEPTH: Final = 64
_MAX_NAME_CHARS: Final = 1000
#: Where lines, their parts and their points, and waypoints are.
_LINES: Final = (["gpx", "trk"], ["gpx", "rte"])
_PARTS: Final = (["gpx", "trk", "trkseg"], ["gpx", "rte"])
_POINTS: Final = (["gpx", "trk", "trkseg", "trkpt"], ["gpx", "rte", "rtept"])
_WAYPOINT: Final = ["gpx", "wpt"]
_METRES_PER_DEGREE: Final = 111_320.0
#: A point goes when it and its neighbours make a triangle no larger than this: a bend of 2 m in 20 m of road.
_NEGLIGIBLE_M2: Final = 20.0

_DECIMAL: Final = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*")

Place = tuple[float, float]


class GpxError(ValueError):
    """A file is no GPX that can be read; the message says why."""


def read_gpx(data: bytes, *, max_points: int) -> dict[str, Any]:
    """Return a GeoJSON collection of a file's tracks, or its routes where it has no tracks, and its waypoints.

    Elevations and times are left out, since maps do not show them.

    Args:
        data: What the file holds.
        max_points: Most points of all lines together; lines are thinned to it.

    Raises:
        GpxError: It is too large, is no GPX, or has points without a place.
    """
    if len(data) > MAX_BYTES:
        raise GpxError(f"it is larger than {MAX_BYTES // 1024 // 1024} MB")
    reader = _Reader()
    reader.read(data)
    drawn = [line for line in reader.lines if any(line.parts)]
    tracks = [line for line in drawn if line.kind == "trk"] or drawn
    thinned = thin([part for track in tracks for part in track.parts], max_points)
    features = []
    for track in tracks:
        parts = [thinned.pop(0) for _ in track.parts]
        features.append(
            _feature("MultiLineString", [[[*place] for place in part] for part in parts if len(part) > 1], track.name)
        )
    return {
        "type": "FeatureCollection",
        "features": [*features, *(_feature("Point", [*place], name) for name, place in reader.waypoints)],
    }


def thin(lines: Sequence[Sequence[Place]], most: int) -> list[list[Place]]:
    """Return lines without the points that matter least to their shape (after Visvalingam and Whyatt).

    Those on a straight go in any case, further ones until there are no more than `most`.
    """
    area_m2 = _areas([place for line in lines for place in line])
    begins = list(itertools.accumulate(map(len, lines), initial=0))
    ends = {at for begin, end in itertools.pairwise(begins) for at in (begin, end - 1)}
    before, after = list(range(-1, begins[-1] - 1)), list(range(1, begins[-1] + 1))
    areas = {n: area_m2(n - 1, n, n + 1) for n in range(begins[-1]) if n not in ends}
    heap = [(area, n) for n, area in areas.items()]
    heapq.heapify(heap)
    while heap and (heap[0][0] <= _NEGLIGIBLE_M2 or len(areas) + len(ends) > most):
        area, n = heapq.heappop(heap)
        if areas.get(n) != area:
            continue
        del areas[n]
        before[after[n]], after[before[n]] = before[n], after[n]
        for other in (before[n], after[n]):
            if other in areas:
                # Never less than what went before, or a slow bend would vanish point by point.
                areas[other] = max(area, area_m2(before[other], other, after[other]))
                heapq.heappush(heap, (areas[other], other))
    kept = ends | areas.keys()
    return [
        [place for n, place in enumerate(line, begin) if n in kept] for begin, line in zip(begins, lines, strict=False)
    ]


def _areas(points: Sequence[Place]) -> Callable[[int, int, int], float]:
    """Return what tells the area between three points, by their numbers."""
    ys = [lat for _, lat in points]
    scales = [math.cos(math.radians(lat)) * _METRES_PER_DEGREE**2 / 2 for lat in ys]
    # Beyond 180° rather than back at the other side.
    xs = [lon for lon, _ in points]
    for n in range(1, len(xs)):
        xs[n] += 360 * round((xs[n - 1] - xs[n]) / 360)

    def area_m2(one: int, two: int, three: int) -> float:
        x, y = xs[two], ys[two]
        return abs((xs[one] - x) * (ys[three] - y) - (xs[three] - x) * (ys[one] - y)) * scales[two]

    return area_m2


class _Line:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = ""
        self.parts: list[list[Place]] = []


class _Reader:
    """Reads a file as it goes by, and keeps nothing but lines and waypoints."""

    def __init__(self) -> None:
        self.lines: list[_Line] = []
        self.waypoints: list[tuple[str, Place]] = []
        self._path: list[str] = []
        self._name: list[str] | None = None
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse_declarations

    def read(self, data: bytes) -> None:
        try:
            self._parser.Parse(data, True)  # noqa: FBT003 - positional only: this is all
        except GpxError:
            raise
        except expat.ExpatError as error:
            raise GpxError(f"it is no XML: {expat.ErrorString(error.code)} in line {error.lineno}") from None
        except (LookupError, ValueError) as error:
            raise GpxError(f"its encoding cannot be read: {error}") from None

    def _refuse_declarations(self, *_: object) -> None:
        # GPX has no document types. What they declare, entities above all, can be made to fill any memory.
        raise GpxError("it declares a document type, which no GPX does")

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        name = qualified.rpartition(" ")[2]
        if not self._path and name != "gpx":
            raise GpxError(f"it is no GPX, but begins with <{name[:40]}>")
        self._path.append(name)
        if len(self._path) > _MAX_DEPTH:
            raise GpxError(f"its elements are nested more than {_MAX_DEPTH} deep")
        if self._path in _LINES:
            self.lines.append(_Line(name))
        if self._path in _PARTS:
            self.lines[-1].parts.append([])
        if self._path in _POINTS:
            self.lines[-1].parts[-1].append(self._place(name, attributes))
        elif self._path == _WAYPOINT:
            self.waypoints.append(("", self._place(name, attributes)))
        self._name = [] if name == "name" else None

    def _place(self, name: str, attributes: dict[str, str]) -> Place:
        return self._degrees(name, attributes, "lon", 180), self._degrees(name, attributes, "lat", 90)

    def _degrees(self, name: str, attributes: dict[str, str], axis: str, most: int) -> float:
        text = attributes.get(axis, "")
        # Python's own numbers may have underscores, digits of any script, and be infinite.
        if _DECIMAL.fullmatch(text) and abs(degrees := float(text)) <= most:
            return degrees
        where = f"the <{name}> in line {self._parser.CurrentLineNumber}"
        if axis not in attributes:
            raise GpxError(f"{where} has no {axis}")
        raise GpxError(f'{where} has {axis}="{text[:40]}", which must be a number from -{most} to {most}')

    def _text(self, text: str) -> None:
        if self._name is not None and sum(map(len, self._name)) < _MAX_NAME_CHARS:
            self._name.append(text[:_MAX_NAME_CHARS])

    def _end(self, _: str) -> None:
        match self._path:
            case ["gpx", "trk" | "rte", "name"]:
                self.lines[-1].name = "".join(self._name or ())
            case ["gpx", "wpt", "name"]:
                self.waypoints[-1] = ("".join(self._name or ()), self.waypoints[-1][1])
        self._name = None
        self._path.pop()


def _feature(kind: str, coordinates: object, name: str) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": {"name": name} if name else {}}
