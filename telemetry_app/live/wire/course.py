"""A course as maps draw it: GeoJSON, made fit to be shown, whoever drew it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from telemetry_app.live.wire.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Most points of all lines together, most lines, and most points that are marked, with those that cannot be drawn.
MAX_VERTICES: Final = 20_000
MAX_LINES: Final = 50
MAX_MARKS: Final = 500
#: Most lists and objects of a text, of which each point is one: to read a million of them takes seconds.
_MAX_NESTED: Final = 2 * MAX_VERTICES
#: Collections may hold collections, but hardly any does.
_MAX_DEPTH: Final = 4
#: Ends that are no further apart are one place.
_SAME_PLACE_M: Final = 50.0
_METRES_PER_DEGREE: Final = 111_320.0
#: A tenth of a metre.
_DECIMALS: Final = 6

Kind = Literal["start", "finish", "start-finish", "point"]
_KINDS: Final[Mapping[str, Kind]] = {
    "start": "start",
    "finish": "finish",
    "start-finish": "start-finish",
    "start/finish": "start-finish",
    "start / finish": "start-finish",
}


class Place(NamedTuple):
    """Degrees, in GeoJSON's order."""

    lon: float
    lat: float


class BadCourseError(ValueError):
    """A course cannot be shown; the message says why."""


@dataclass(slots=True)
class _Course:
    lines: list[tuple[str, list[list[Place]]]] = field(default_factory=list)
    marks: list[tuple[Kind, str, Place]] = field(default_factory=list)
    vertices: int = 0


def fit_course(value: object) -> bytes:
    """Return a course as a GeoJSON collection of lines and marks, each with a `kind`.

    Lines are `MultiLineString` of kind `line`, split where they cross 180° of longitude. Marks are points of kind
    `start`, `finish`, `start-finish` or `point`; where none says where a line starts and finishes, its ends do.
    What cannot be drawn is left out.

    Args:
        value: GeoJSON of any type with lines and points, its text, or the JSON of its text.

    Raises:
        BadCourseError: It has no line, or is too large; nothing else, whatever the value.
    """
    course = _Course()
    for geometry, properties in _geometries(_decoded(value)):
        _add(course, geometry, properties)
    if not course.lines:
        raise BadCourseError("there is no line of at least two points in it")
    _mark_ends(course)
    return _encoded(course)


def _refuse_more(number: int, most: int, what: str) -> None:
    if number > most:
        raise BadCourseError(f"it has at least {number} {what}, and may have {most}")


def _decoded(value: object) -> object:
    # A column of text has GeoJSON as a text in JSON.
    for _ in range(2):
        if isinstance(value, str):
            _refuse_more(value.count("[") + value.count("{"), _MAX_NESTED, "points and other lists and objects")
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError, ValueError):
                raise BadCourseError("it cannot be read as JSON") from None
    return value


def _geometries(value: object, properties: Mapping[str, Any] | None = None, depth: int = 0) -> Iterator[Any]:
    """Yield each geometry with the properties of its feature."""
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        return
    kind, members = value.get("type"), (value.get("features"), value.get("geometries"))
    if kind == "Feature":
        own = value.get("properties")
        yield from _geometries(value.get("geometry"), own if isinstance(own, dict) else {}, depth + 1)
    elif kind in ("FeatureCollection", "GeometryCollection"):  # no set: it may be a list
        for member in next((found for found in members if isinstance(found, list)), ()):
            yield from _geometries(member, properties, depth + 1)
    else:
        yield value, properties or {}


def _add(course: _Course, geometry: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    name = one_line(properties.get("name")) or ""
    coordinates = geometry.get("coordinates")
    match geometry.get("type"), coordinates:
        case "Point", list():
            _mark(course, [coordinates], name, properties)
        case "MultiPoint", list():
            _mark(course, coordinates, name, properties)
        case "LineString", list():
            _draw(course, [coordinates], name)
        case "MultiLineString", list():
            _draw(course, coordinates, name)


def _mark(course: _Course, coordinates: Sequence[object], name: str, properties: Mapping[str, Any]) -> None:
    given = properties.get("kind")
    kind = _KINDS.get((given if isinstance(given, str) else name).lower(), "point")
    _refuse_more(len(course.marks) + len(coordinates), MAX_MARKS, "marked points")
    course.marks += [(kind, name, place) for value in coordinates if (place := _place(value)) is not None]


def _draw(course: _Course, lines: Sequence[object], name: str) -> None:
    given = [line for line in lines if isinstance(line, list)]
    # Before anything is built.
    course.vertices += sum(map(len, given))
    _refuse_more(course.vertices, MAX_VERTICES, "points of lines")
    places = [[place for value in line if (place := _place(value))] for line in given]
    parts = [part for line in places for part in _split(line) if len(part) > 1]
    if parts:
        course.lines.append((name, parts))
        _refuse_more(len(course.lines), MAX_LINES, "lines")


def _place(value: object) -> Place | None:
    if not isinstance(value, list) or len(value) < 2:  # noqa: PLR2004 - longitude and latitude
        return None
    lon, lat = value[:2]
    if type(lon) not in {int, float} or type(lat) not in {int, float}:
        return None
    # Lines that cross 180° are also written as going on beyond it.
    if not (-540 <= lon <= 540 and -90 <= lat <= 90):  # noqa: PLR2004 - three times round; NaN is not within
        return None
    around = lon if -180 <= lon <= 180 else (lon + 180) % 360 - 180  # noqa: PLR2004 - degrees
    return Place(round(around, _DECIMALS), round(lat, _DECIMALS))


def _split(line: Sequence[Place]) -> Iterator[list[Place]]:
    """Yield the parts of a line between its crossings of 180°."""
    part = list(line[:1])
    for here, there in itertools.pairwise(line):
        if abs(there.lon - here.lon) > 180:  # noqa: PLR2004 - the other way round is shorter
            side = math.copysign(180.0, here.lon)
            ahead = there.lon + 2 * side
            share = (side - here.lon) / (ahead - here.lon) if ahead != here.lon else 0.0
            lat = round(here.lat + share * (there.lat - here.lat), _DECIMALS)
            yield [*part, Place(side, lat)]
            part = [Place(-side, lat)]
        part.append(there)
    yield part


def _mark_ends(course: _Course) -> None:
    """Mark where lines start and finish, unless a mark says it."""
    if any(kind != "point" for kind, _, _ in course.marks):
        return
    ends: list[tuple[Kind, Place]] = []
    for _, parts in course.lines:
        start, finish = parts[0][0], parts[-1][-1]
        if _distance_m(start, finish) <= _SAME_PLACE_M:
            ends.append(("start-finish", start))
        else:
            ends += [("start", start), ("finish", finish)]
    for kind, place in ends:
        known = (other for other_kind, _, other in course.marks if other_kind == kind)
        if all(_distance_m(place, other) > _SAME_PLACE_M for other in known):
            course.marks.append((kind, "", place))


def _distance_m(one: Place, other: Place) -> float:
    # Good enough for places that are near each other.
    east = (other.lon - one.lon) * math.cos(math.radians(one.lat))
    return math.hypot(east, other.lat - one.lat) * _METRES_PER_DEGREE


def _encoded(course: _Course) -> bytes:
    lines = [_feature("MultiLineString", parts, "line", name) for name, parts in course.lines]
    marks = [_feature("Point", place, kind, name) for kind, name, place in course.marks]
    return msgspec.json.encode({"type": "FeatureCollection", "features": [*lines, *marks]})


def _feature(kind_of_geometry: str, coordinates: object, kind: str, name: str) -> dict[str, Any]:
    properties = {"kind": kind, "name": name} if name else {"kind": kind}
    geometry = {"type": kind_of_geometry, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}
