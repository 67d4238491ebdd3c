"""The made-up place of the demo, as a base map."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import pytest

from telemetry_app.serving import pmtiles
from telemetry_app.tools.place import ATTRIBUTION, MAX_ZOOM, MIN_ZOOM, write_place
from telemetry_app.tools.place.archive import write_archive
from telemetry_app.tools.place.clipping import clip_area, clip_line
from telemetry_app.tools.place.drawing import BOUNDS, draw
from telemetry_app.tools.place.features import Feature
from telemetry_app.tools.place.terrain import contours, height_m
from telemetry_app.tools.simulation.track import SKOPJE_LOOP

BOX = (0.0, 0.0, 10.0, 10.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("place") / "place.pmtiles"
    write_place(path)
    return path


@pytest.fixture(scope="module")
def features() -> list[Feature]:
    return draw()


def test_it_is_the_same_each_time(place: Path, tmp_path: Path) -> None:
    """Written again it is the same bytes, and few of them."""
    again = tmp_path / "again.pmtiles"
    write_place(again)
    assert again.read_bytes() == place.read_bytes()
    assert place.stat().st_size < 300_000


def test_it_can_be_shown(place: Path) -> None:
    """It is an archive that a worker takes, which says that nobody will find this place."""
    archive = pmtiles.read(place)
    assert (archive.min_zoom, archive.max_zoom) == (MIN_ZOOM, MAX_ZOOM)
    assert archive.bounds == pytest.approx(BOUNDS, abs=1e-6)
    header = pmtiles.HEADER.unpack_from(place.read_bytes())
    at, length = header[4], header[5]
    metadata = json.loads(gzip.decompress(place.read_bytes()[at : at + length]))
    assert metadata["attribution"] == ATTRIBUTION


def test_the_course_runs_in_it(features: list[Feature]) -> None:
    """All of the course lies in the place, on a road, with room around it."""
    west, south, east, north = BOUNDS
    assert all(south + 0.05 < lat < north - 0.05 and west + 0.08 < lon < east - 0.08 for lat, lon in SKOPJE_LOOP)
    [road] = [feature for feature in features if feature.properties.get("name") == "Race Road"]
    for (lat, lon), on_road in zip(SKOPJE_LOOP, road.places, strict=False):
        assert on_road == pytest.approx((lon, lat))


def test_what_is_in_it(features: list[Feature]) -> None:
    """There are woods, water, roads, heights and names, in the layers of Protomaps."""
    drawn = {(feature.layer, str(feature.properties["kind"])) for feature in features}
    assert drawn >= {
        ("earth", "earth"),
        ("landuse", "wood"),
        ("water", "lake"),
        ("water", "river"),
        ("roads", "highway"),
        ("roads", "path"),
        ("roads", "rail"),
        ("contours", "contour"),
        ("places", "locality"),
        ("pois", "peak"),
        ("buildings", "building"),
    }


def test_contours_are_where_the_land_is_so_high() -> None:
    """Each line goes on without a gap, ends at the edge or where it began, and is as high as it says."""
    for level, line in contours([300, 500], 9.0, 7.4):
        assert all(abs(height_m(*point) - level) < 8 for point in line)
        assert all(abs(x - next_x) + abs(y - next_y) < 0.5 for (x, y), (next_x, next_y) in itertools.pairwise(line))
        at_edge = [abs(x) > 8.999 or abs(y) > 7.399 for x, y in (line[0], line[-1])]
        assert line[0] == line[-1] or at_edge == [True, True]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ([(2, 2), (8, 8)], [[(2, 2), (8, 8)]]),
        ([(-5, 5), (15, 5)], [[(0, 5), (10, 5)]]),
        ([(5, 5), (15, 5), (15, 8), (5, 8)], [[(5, 5), (10, 5)], [(10, 8), (5, 8)]]),
        ([(-5, 3), (-5, 7)], []),
        ([(5, 5), (7, 5), (7, 7)], [[(5, 5), (7, 5), (7, 7)]]),
    ],
)
def test_lines_are_cut(line: list[tuple[float, float]], parts: list[list[tuple[float, float]]]) -> None:
    """What lies outside is left away, what leaves and comes back is in parts."""
    assert list(clip_line(line, BOX)) == parts


@pytest.mark.parametrize(
    ("ring", "area"),
    [
        ([(2, 2), (8, 2), (8, 8)], 18),
        ([(-5, -5), (15, -5), (15, 15), (-5, 15)], 100),
        ([(5, 5), (15, 5), (15, 8), (5, 8)], 15),
        ([(12, 12), (14, 12), (14, 14)], 0),
    ],
)
def test_areas_are_cut(ring: list[tuple[float, float]], area: float) -> None:
    """Of an area the part inside is left."""
    cut = clip_area(ring, BOX)
    around = zip(cut, cut[1:] + cut[:1], strict=True)
    assert abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in around)) / 2 == area


def test_tiles_are_found_again(tmp_path: Path) -> None:
    """Tiles lie along the Hilbert curve of each zoom, whose numbers are known."""
    path = tmp_path / "a.pmtiles"
    tiles = {(1, 0, 0): 1, (1, 0, 1): 2, (1, 1, 1): 3, (1, 1, 0): 4, (2, 0, 0): 5, (2, 3, 0): 20, (3, 2, 5): 50}
    write_archive(path, [(tile, b"") for tile in tiles], bounds=(-1, -1, 1, 1), metadata={})
    content = path.read_bytes()
    at, length = pmtiles.HEADER.unpack_from(content)[2:4]
    count, *steps = gzip.decompress(content[at : at + length])[: len(tiles) + 1]
    assert count == len(tiles)
    assert list(itertools.accumulate(steps)) == sorted(tiles.values())
