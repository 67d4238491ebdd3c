import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from telemetry_app.live.wire.course import MAX_LINES, MAX_MARKS, MAX_VERTICES, BadCourseError, fit_course

LINE = {"type": "LineString", "coordinates": [[21.4, 42.0], [21.5, 42.1], [21.6, 42.0]]}
LOOP = {"type": "LineString", "coordinates": [[21.4, 42.0], [21.5, 42.1], [21.4, 42.0001]]}


def feature(geometry: object, **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features: object) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": features}


def point(*place: float) -> dict[str, object]:
    return {"type": "Point", "coordinates": list(place)}


def fitted(value: Any) -> list[tuple[str, str, Any]]:
    """Return kind, name and coordinates of each feature of a course that Directus gives as JSON."""
    course = json.loads(fit_course(json.loads(json.dumps(value))))
    assert course["type"] == "FeatureCollection"
    return [
        (one["properties"]["kind"], one["properties"].get("name", ""), one["geometry"]["coordinates"])
        for one in course["features"]
    ]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(LINE, id="geometry"),
        pytest.param(feature(LINE), id="feature"),
        pytest.param(collection(feature(LINE)), id="collection"),
        pytest.param({"type": "GeometryCollection", "geometries": [LINE]}, id="geometries"),
        pytest.param(json.dumps(LINE), id="text"),
        pytest.param({"type": "MultiLineString", "coordinates": [LINE["coordinates"]]}, id="lines"),
    ],
)
def test_a_line_has_a_start_and_a_finish(value: object) -> None:
    """Whichever kind of GeoJSON it comes as; its ends are marked."""
    assert fitted(value) == [
        ("line", "", [LINE["coordinates"]]),
        ("start", "", [21.4, 42.0]),
        ("finish", "", [21.6, 42.0]),
    ]


def test_a_loop_starts_where_it_finishes() -> None:
    """Ends that are one place are marked once, also those of several lines."""
    kinds = [kind for kind, *_ in fitted(collection(feature(LOOP, name="short"), feature(LOOP, name="long")))]
    assert kinds == ["line", "line", "start-finish"]


def test_marks() -> None:
    """Points are marked by kind or name; where one is a start or a finish, the ends of lines are not."""
    marks = [feature(point(21.4, 42), kind="start"), feature(point(21.5, 42), name="Finish")]
    assert fitted(
        collection(feature(LINE, name="Long"), *marks, feature(point(21.6, 42, 300), name=" Feed\nzone "))
    ) == [
        ("line", "Long", [LINE["coordinates"]]),
        ("start", "", [21.4, 42]),
        ("finish", "Finish", [21.5, 42]),
        ("point", "Feed zone", [21.6, 42]),
    ]


@pytest.mark.parametrize(
    ("coordinates", "parts"),
    [
        pytest.param([[179, 0], [-179, 2]], [[[179, 0], [180, 1]], [[-180, 1], [-179, 2]]], id="east"),
        pytest.param([[-179, 0], [179, 2]], [[[-179, 0], [-180, 1]], [[180, 1], [179, 2]]], id="west"),
        pytest.param([[179, 0], [181, 2]], [[[179, 0], [180, 1]], [[-180, 1], [-179, 2]]], id="beyond"),
        pytest.param([[180, 0], [-180, 2]], [[[-180, 0], [-180, 2]]], id="along"),
    ],
)
def test_lines_are_split_at_180_degrees(coordinates: object, parts: object) -> None:
    """A line that crosses 180° does not go round the world."""
    lines = [line for kind, _, line in fitted({"type": "LineString", "coordinates": coordinates}) if kind == "line"]
    assert all(abs(here[0] - there[0]) < 180 for part in lines[0] for here, there in itertools.pairwise(part))
    if coordinates != [[180, 0], [-180, 2]]:
        assert lines == [parts]


def test_what_cannot_be_drawn_is_left_out() -> None:
    """Bad places, other geometries and properties of other types do no harm to the rest."""
    bad = [[0], "x", [None, 1], [True, 1], [1, 91], [541, 1], ["1", "2"], {"lon": 1}, []]
    line = {"type": "LineString", "coordinates": [*bad, [1.123456789, 2], *bad, [3, 4, 5, 6]]}
    others: list[object] = [None, 5, "x", [], feature(None), feature({"type": "Polygon", "coordinates": [[[1, 2]]]})]
    odd = {"type": "Feature", "geometry": point(1, 2), "properties": ["x"]}
    marks = feature(point(1, 2), name={"a": 1}, kind=5)
    assert [one for one in fitted(collection(*others, feature(line, name=7), odd, marks)) if one[0] != "start"] == [
        ("line", "", [[[1.123457, 2], [3, 4]]]),
        ("point", "", [1, 2]),
        ("point", "", [1, 2]),
        ("finish", "", [3, 4]),
    ]


def line_of(points: int) -> dict[str, object]:
    return {"type": "LineString", "coordinates": [[n / 1000, 1] for n in range(points)]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "no line", id="nothing"),
        pytest.param("<gpx>", "cannot be read", id="text"),
        pytest.param("[" * 5000 + "]" * 5000, "cannot be read|no line", id="deep-text"),  # by the Python
        pytest.param("\ud800", "cannot be read", id="no-text"),
        pytest.param('{"name":"\\ud800"}', "cannot be read", id="surrogate"),
        pytest.param('{"x":' + "9" * 5000 + "}", "cannot be read", id="integer"),
        pytest.param('{"x":1' + "0" * 400 + ".5}", "cannot be read", id="number"),
        pytest.param("[" * 100_000, "lists and objects", id="many-lists"),
        pytest.param('"' + "{" * 100_000 + '"', "lists and objects", id="many-objects"),
        pytest.param(point(1, 2), "no line", id="point"),
        pytest.param({"type": "LineString", "coordinates": [[1, 2]]}, "no line", id="one-point"),
        pytest.param(
            {"type": "LineString", "coordinates": [[float("nan"), 2], [1, float("inf")]]}, "no line", id="nan"
        ),
        pytest.param(line_of(MAX_VERTICES + 1), "20001 points of lines", id="long"),
        pytest.param(collection(line_of(MAX_VERTICES), LINE), "20003 points of lines", id="long-together"),
        pytest.param(collection(*[feature(LINE)] * (MAX_LINES + 1)), "51 lines", id="lines"),
        pytest.param(collection(feature(LINE), *[feature(point(1, 2))] * (MAX_MARKS + 1)), "marked", id="marks"),
        pytest.param({"type": "MultiPoint", "coordinates": [[1, 2]] * (MAX_MARKS + 1)}, "marked", id="many-marks"),
    ],
)
def test_what_is_no_course(value: object, reason: str) -> None:
    """Without a line, or beyond a bound, there is no course, and it is said why."""
    with pytest.raises(BadCourseError, match=reason):
        fit_course(json.loads(json.dumps(value)) if not isinstance(value, str) else value)


ODD = st.none() | st.booleans() | st.floats() | st.integers() | st.integers(-(10**400), 10**400) | st.text(max_size=5)
TYPES = ["Feature", "FeatureCollection", "GeometryCollection", "LineString", "MultiLineString", "Point", "MultiPoint"]
KEYS = ("coordinates", "features", "geometries", "geometry", "properties", "name", "kind")
PLACE = st.lists(st.floats(-540, 540) | ODD, min_size=2, max_size=3)
JSON = st.recursive(
    ODD | PLACE | st.lists(PLACE, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.fixed_dictionaries({"type": st.sampled_from(TYPES) | inner}, optional=dict.fromkeys(KEYS, inner))
    ),
    max_leaves=25,
)


@given(value=JSON | st.text() | JSON.map(json.dumps))
@settings(max_examples=300)
@example(value={"type": []})
@example(value={"type": {}})
@example(value='{"type":"Feature","geometry":{"type":[[]]}}')
def test_any_json(value: object) -> None:
    """Whatever the field holds, it is a course of valid places, or none."""
    try:
        course = json.loads(fit_course(value))
    except BadCourseError:
        return
    assert "line" in {one["properties"]["kind"] for one in course["features"]}
