"""GPX becomes a course, and nothing that calls itself GPX does harm."""

import contextlib
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from telemetry_app.cli.gpx import MAX_BYTES, GpxError, read_gpx, thin
from telemetry_app.live.wire.course import MAX_VERTICES, fit_course
from tests.app.cli.running import telemetry, telemetry_on_a_terminal

RACE = """<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1" xmlns:x="urn:x">
  <metadata><name>of the file</name></metadata>
  <wpt lat="42.001" lon="21.001"><ele>240</ele><name>Feed zone</name></wpt>
  <wpt lat="42" lon="21"/>
  <rte><name>a route</name><rtept lat="1" lon="1"/><rtept lat="2" lon="2"/></rte>
  <trk><name>Long &amp; hard</name>
    <trkseg>
      <trkpt lat="42.0" lon="21.0"><ele>240.5</ele><time>2026-05-02T12:00:00Z</time><name>no</name></trkpt>
      <trkpt lat="42.1" lon="21.0"/><trkpt lat="42.1" lon="21.2"><extensions><x:hr>150</x:hr></extensions></trkpt>
    </trkseg>
    <trkseg><trkpt lat="43.0" lon="22.0"/></trkseg>
    <trkseg></trkseg>
    <trkseg><trkpt lat="43.0" lon="22.0"/><trkpt lat="43.1" lon="22.5"/></trkseg>
  </trk>
  <trk><trkseg><trkpt lat="10" lon="20"/><trkpt lat="11" lon="21"/></trkseg></trk>
</gpx>
"""
#: With this a terminal deletes a line.
DELETED = "\x1b[2K"


def gpx(inside: str, head: str = "") -> bytes:
    return f'<?xml version="1.0"?>{head}<gpx xmlns="http://www.topografix.com/GPX/1/1">{inside}</gpx>'.encode()


def track(*places: tuple[float, float]) -> bytes:
    points = "".join(f'<trkpt lat="{lat}" lon="{lon}"/>' for lon, lat in places)
    return gpx(f"<trk><trkseg>{points}</trkseg></trk>")


def features(data: bytes, most: int = 1000) -> list[tuple[str, Any]]:
    return [
        (feature["properties"].get("name", ""), json.loads(json.dumps(feature["geometry"]["coordinates"])))
        for feature in read_gpx(data, max_points=most)["features"]
    ]


async def imported(path: Path) -> tuple[int | None, str, str]:
    return await telemetry("postgresql://127.0.0.1:1/none", "course", "import", str(path))


async def test_a_file_becomes_a_course(tmp_path: Path) -> None:
    """What the command prints is the course as maps get it: several tracks, marks, start and finish."""
    (tmp_path / "race.gpx").write_text(RACE)
    code, output, errors = await imported(tmp_path / "race.gpx")
    assert (code, errors) == (0, "")
    assert [(f["properties"]["kind"], f["properties"].get("name")) for f in json.loads(output)["features"]] == [
        ("line", "Long & hard"),
        ("line", None),
        ("point", "Feed zone"),
        ("point", None),
        *[("start", None), ("finish", None)] * 2,
    ]
    assert fit_course(output) == output.encode()


async def test_a_file_that_is_none(tmp_path: Path) -> None:
    """The command says in one sentence what is wrong, with status 1."""
    for name, content, reason in (
        ("x.gpx", b"", "it is no XML: no element found in line 1"),
        ("y.gpx", gpx(""), "there is no line of at least two points in it"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert await imported(path) == (1, "", f"Error: {path} cannot be a course: {reason}.")


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        pytest.param(RACE, 0, "", id="course"),
        pytest.param("<gpx/>", 1, "there is no line of at least two points in it.", id="none"),
    ],
)
async def test_progress_on_a_terminal(tmp_path: Path, content: str, status: int, said: str) -> None:
    """Who waits sees that something is done; its line goes before anything else is said, and is not in the output."""
    path = tmp_path / "race.gpx"
    path.write_text(content)
    _, expected, _ = await imported(path)
    code, output, shown = await telemetry_on_a_terminal("course", "import", str(path))
    assert (code, output) == (status, expected)
    progress, _, left = shown.rpartition(DELETED)
    assert "reading and thinning" in progress
    assert left.rpartition("be a course: ")[2].strip() == said


def test_tracks_and_waypoints() -> None:
    """Tracks go before routes; segments are parts of one line; elevations may be there or not."""
    assert features(RACE.encode()) == [
        ("Long & hard", [[[21, 42], [21, 42.1], [21.2, 42.1]], [[22, 43], [22.5, 43.1]]]),
        ("", [[[20, 10], [21, 11]]]),
        ("Feed zone", [21.001, 42.001]),
        ("", [21, 42]),
    ]


def test_a_route_where_there_is_no_track() -> None:
    """Planners write routes."""
    route = '<rte><name>r</name><rtept lat="1" lon="1"/><rtept lat="2" lon="2"/></rte><trk><trkseg/></trk>'
    assert features(gpx(route)) == [("r", [[[1, 1], [2, 2]]])]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    """Programs write names in encodings of their own."""
    named = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{named}"?><gpx><wpt lat="1" lon="2"><name>Čair</name></wpt></gpx>'
    text = text.replace("Č", "É") if encoding.startswith("iso") else text
    assert features(text.encode(encoding))[0][0] in {"Čair", "Éair"}


BOMB = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 20}">' for n in range(20))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(gpx("&e20;", f'<!DOCTYPE gpx [<!ENTITY e0 "ha">{BOMB}]>'), "document type", id="bomb"),
        pytest.param(
            gpx("&x;", '<!DOCTYPE gpx [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), "document type", id="file"
        ),
        pytest.param(gpx("", '<!DOCTYPE gpx SYSTEM "http://127.0.0.1:1/x.dtd">'), "document type", id="dtd"),
        pytest.param(gpx("&x;"), "undefined entity", id="entity"),
        pytest.param(gpx("<a>" * 100_000), "nested more than 64 deep", id="deep"),
        pytest.param(b" " * (MAX_BYTES + 1), "larger than 32 MB", id="large"),
        pytest.param(b"\x00\x01\x02", "no XML", id="binary"),
        pytest.param(b"<kml/>", "begins with <kml>", id="kml"),
        pytest.param(b'{"type":"FeatureCollection"}', "no XML", id="json"),
        pytest.param(b'<?xml version="1.0" encoding="x-none"?><gpx/>', "unknown encoding|encoding", id="encoding"),
        pytest.param(b'<?xml version="1.0" encoding="big5"?><gpx/>', "encoding", id="multi-byte"),
        pytest.param(gpx("<trk><trkseg><trkpt lat='1'/></trkseg></trk>"), "<trkpt> in line 1 has no lon", id="no-lon"),
        pytest.param(track((math.nan, 1)), '<trkpt> in line 1 has lon="nan"', id="nan"),
        pytest.param(track((181, 1)), '<trkpt> in line 1 has lon="181", .* from -180 to 180', id="beyond"),
        pytest.param(gpx("<wpt lat='x' lon='1'/>"), '<wpt> in line 1 has lat="x", .* from -90 to 90', id="no-number"),
        pytest.param(gpx("<wpt lat='1_0' lon='1'/>"), '<wpt> in line 1 has lat="1_0"', id="underscore"),
        pytest.param(gpx("<wpt lat='\u0661' lon='1'/>"), 'lat="\u0661"', id="other-digits"),
        pytest.param(gpx("<wpt lat='1e999' lon='1'/>"), 'lat="1e999"', id="infinite"),
        pytest.param(gpx("<trk><trkseg>"), "no XML", id="cut"),
    ],
)
def test_hostile_files(data: bytes, reason: str) -> None:
    """It is refused for a reason that is said, and nothing is fetched or expanded."""
    with pytest.raises(GpxError, match=reason):
        read_gpx(data, max_points=1000)


@given(data=st.binary(max_size=300) | st.text(max_size=200).map(gpx))
@settings(max_examples=200)
def test_any_bytes(data: bytes) -> None:
    """Whatever a file holds, it is read or refused."""
    with contextlib.suppress(GpxError):
        assert read_gpx(data, max_points=10)["type"] == "FeatureCollection"


def test_long_names_are_cut() -> None:
    """A name as long as the file is kept to its bound."""
    assert len(features(gpx(f'<wpt lat="1" lon="2"><name>{"x" * 1_000_000}</name></wpt>'))[0][0]) < 200_000


def test_a_course_over_180_degrees() -> None:
    """It is thinned as one line, and does not go round the world."""
    line = track(*[((179.9 + n / 1000 + 180) % 360 - 180, -17 + math.sin(n / 5) / 1000) for n in range(200)])
    course = json.loads(fit_course(read_gpx(line, max_points=1000)))
    parts = course["features"][0]["geometry"]["coordinates"]
    assert len(parts) == 2
    assert all(abs(a[0] - b[0]) < 1 for part in parts for a, b in itertools.pairwise(part))


def test_points_on_a_straight_are_left_out() -> None:
    """Ends and bends stay."""
    straight = [(21 + n / 10_000, 42.0) for n in range(101)]
    bend = [(straight[-1][0], 42.0 + n / 10_000) for n in range(1, 101)]
    assert thin([[*straight, *bend]], 1000) == [[straight[0], straight[-1], bend[-1]]]


def test_no_more_points_than_wanted() -> None:
    """A recording of a day is thinned, and keeps its shape within some metres."""
    circle = [(21 + math.cos(n / 8000 * math.pi) / 10, 42 + math.sin(n / 8000 * math.pi) / 10) for n in range(16_001)]
    (thinned,) = thin([circle], 500)
    assert (len(thinned), thinned[0], thinned[-1]) == (500, circle[0], circle[-1])
    assert max(math.dist(a, b) for a, b in itertools.pairwise(thinned)) < 0.01
    assert len(thin([circle[:9000], circle[9000:]], 100)[1]) > 20


def test_a_recording_of_many_points() -> None:
    """More points than a course may have are no reason to refuse a file."""
    noisy = track(*[(21 + n / 50_000, 42 + (n * 7919 % 101) / 5000) for n in range(MAX_VERTICES + 5000)])
    assert fit_course(read_gpx(noisy, max_points=MAX_VERTICES - 1000))
