"""The operator's base map, on the live map in a real Chromium."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Response, Route, expect

from telemetry_app.tools.place import write_place
from telemetry_app.tools.place.archive import write_archive
from telemetry_app.tools.place.drawing import BOUNDS, draw
from telemetry_app.tools.place.tiles import cut
from tests.app.live.browsing import TIMEOUT_S, MapPage, enter
from tests.app.live.harness import now_ms, publish
from tests.app.live.http.map.test_map import ONE, PHONE, Site, site
from tests.support.waiting import eventually

__all__ = ("site",)

#: In the middle of the course, between river and lake.
LATITUDE, LONGITUDE = 41.99, 21.4095
#: Of water in the dark and in the light.
DARK_WATER, LIGHT_WATER = (29, 58, 95), (174, 209, 230)
#: Drawn without a graphics card, each pixel takes its time.
SMALL: dict[str, Any] = {"viewport": {"width": 800, "height": 500}, "reduced_motion": "reduce"}
HOSTILE = "<img src=x onerror=console.error(1)><b>© Ana &amp; Bo</b> &lt;script&gt; <a href='https://elsewhere.example'>more</a>"
#: As much of it as is shown, on several lines of the narrowest phone.
LONG = f"{HOSTILE} {'and all who were out in the rain ' * 9}"
ATTRIBUTION, BUTTON = ".maplibregl-ctrl-attrib", ".maplibregl-ctrl-attrib-button"
SMALLEST_PHONE: dict[str, Any] = PHONE | {"viewport": {"width": 320, "height": 640}}
#: Through the place of the device from north to south, no longer than a phone shows closely.
COURSE = {"type": "LineString", "coordinates": [[LONGITUDE, LATITUDE + 0.003], [LONGITUDE, LATITUDE - 0.003]]}
#: Where the line of the course ends below, as a share of the map's height: in the light it has this colour.
_END_OF_COURSE = """({ data, width, height }) => {
  const isLine = (at) => data[at] === 74 && data[at + 1] === 91 && data[at + 2] === 124;
  for (let at = data.length - 4; at >= 12; at -= 4) {
    if ([0, 4, 8, 12].every((left) => isLine(at - left))) return Math.ceil(at / 4 / width) / height;
  }
  return undefined;
}"""
#: Whether what one touches in the middle of an element is this element.
_IS_ON_TOP = """(element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return element.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2));
}"""
#: Each state of the connection from now on.
_WATCH_STATES = """() => {
  window.states = [];
  new MutationObserver(() => window.states.push(document.body.dataset.state))
    .observe(document.body, { attributeFilter: ["data-state"] });
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("place") / "place.pmtiles"
    write_place(path)
    return path


def write_other(path: Path, attribution: str) -> None:
    """Write an archive of the place without its woods."""
    features = [feature for feature in draw() if feature.layer != "landuse"]
    write_archive(path, cut(features, BOUNDS, range(10, 15)), bounds=BOUNDS, metadata={"attribution": attribution})


async def open_at_the_course(site: Site, page: MapPage) -> None:
    await page.open("7")
    await page.until("live")
    await publish(site.redis, site.stream, ONE, now_ms(), lat=LATITUDE, lon=LONGITUDE)
    await page.until_devices({ONE: LATITUDE})


async def in_view(page: MapPage) -> set[tuple[str, str]]:
    """Return layer and kind of each feature of the base map that is in view."""
    features = await page.page.evaluate("() => window.telemetryMap.base()")
    return {(feature["layer"], feature["kind"]) for feature in features}


async def until_shown(page: MapPage, wanted: Callable[[set[tuple[str, str]]], bool], what: str) -> None:
    """Wait until of the base map this is in view."""
    shown: set[tuple[str, str]] = set()

    async def is_shown() -> bool:
        shown.clear()
        shown.update(await in_view(page))
        return wanted(shown)

    try:
        await eventually(is_shown, timeout_s=TIMEOUT_S, message=what)
    except AssertionError as error:
        error.add_note(f"shown: {shown}, complaints: {page.complaints}")
        raise


async def until_coloured(page: MapPage, colour: tuple[int, int, int]) -> None:
    async def is_coloured() -> bool:
        return any(tuple(rgb) == colour and count > 2000 for *rgb, count in await page.map_colours())

    await eventually(is_coloured, timeout_s=TIMEOUT_S, message=f"water is {colour}")


async def test_a_race_is_in_a_place(site: Site, place: Path) -> None:
    """Woods, water and roads are drawn, dark and light, with attribution; only ranges of the file are asked for."""
    await enter(site.database, {"7": [ONE]})
    worker = await site.serve(LIVE_BASEMAP=str(place))
    async with site.page(worker, color_scheme="dark", **SMALL) as page:
        answers: list[Response] = []
        page.page.on("response", lambda answer: answers.append(answer) if ".pmtiles" in answer.url else None)
        await open_at_the_course(site, page)
        expected = {("water", "river"), ("water", "lake"), ("roads", "minor_road"), ("landuse", "wood")}
        await until_shown(page, expected.issubset, "the place is drawn")
        await until_coloured(page, DARK_WATER)
        attribution = page.page.locator(".maplibregl-ctrl-attrib-inner")
        await expect(attribution).to_contain_text("A made-up place, drawn for the demo")
        await page.page.emulate_media(color_scheme="light")
        await until_coloured(page, LIGHT_WATER)
        await until_shown(page, expected.issubset, "the place is drawn in the light")
        assert {answer.status for answer in answers} == {206}
        assert page.complaints == []


async def test_a_moment_without_network(site: Site, place: Path) -> None:
    """Tiles that did not come are asked for again when the network is back, and drawn."""
    await enter(site.database, {"7": [ONE]})
    worker = await site.serve(LIVE_BASEMAP=str(place))
    async with site.page(worker, **SMALL) as page:
        await open_at_the_course(site, page)
        await until_shown(page, lambda found: ("water", "river") in found, "the place is drawn")
        await page.page.route("**/*.pmtiles", lambda route: route.abort())
        # Far enough for hills that were not in view before, and at once: only the four tiles of this zoom are wanted.
        await page.open(f"7&view={LATITUDE},{LONGITUDE},11")
        await eventually(lambda: len(page.complaints) > 3, timeout_s=TIMEOUT_S, message="tiles have failed to come")
        await page.page.unroute("**/*.pmtiles")

        async def hills() -> bool:
            # Again and again: the map hears a little later than the console what has failed.
            await page.page.evaluate("() => dispatchEvent(new Event('online'))")
            return ("pois", "peak") in await in_view(page)

        await eventually(hills, timeout_s=TIMEOUT_S, message="hills are drawn")
        assert {complaint for complaint in page.complaints if "ERR_FAILED" not in complaint} == set()


async def test_a_server_that_is_busy(site: Site, place: Path) -> None:
    """Tiles that are answered 503 once are asked for again while the socket stays connected, and drawn."""
    await enter(site.database, {"7": [ONE]})
    worker = await site.serve(LIVE_BASEMAP=str(place))
    asked: Counter[str] = Counter()

    async def refuse_once(route: Route) -> None:
        part = route.request.headers["range"]
        asked[part] += 1
        await (route.fulfill(status=503) if asked[part] == 1 else route.continue_())

    async with site.page(worker, **SMALL) as page:
        await open_at_the_course(site, page)
        await until_shown(page, lambda found: ("water", "river") in found, "the place is drawn")
        await page.page.evaluate(_WATCH_STATES)
        await page.page.route("**/*.pmtiles", refuse_once)
        # Far enough for hills that were not in view before.
        await page.open(f"7&view={LATITUDE},{LONGITUDE},11")
        await until_shown(page, lambda found: ("pois", "peak") in found, "hills are drawn")
        assert max(asked.values()) == 2
        assert await page.page.evaluate("() => window.states") == []
        assert [complaint for complaint in page.complaints if " 503 " not in complaint] == []


async def test_without_a_file(site: Site) -> None:
    """There are outlines, and nothing is asked for."""
    await enter(site.database, {"7": [ONE]})
    worker = await site.serve()
    async with site.page(worker) as page:
        asked: list[str] = []
        page.page.on("request", lambda request: asked.append(request.url))
        await open_at_the_course(site, page)
        await expect(page.page.locator(".maplibregl-ctrl-attrib-inner")).to_have_text("Natural Earth")
        assert await page.page.evaluate("() => window.telemetryMap.base()") == []
        assert [url for url in asked if "basemap" in url or "tiles" in url] == []
        assert page.complaints == []


async def touch(page: MapPage, name: str) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of an element, when one can touch it."""
    element = page.page.locator(name)
    await expect(element).to_be_in_viewport(ratio=1)
    assert await element.evaluate(_IS_ON_TOP), f"something lies on {name}"
    box = await element.bounding_box()
    assert box is not None
    return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


async def end_of_course(page: MapPage) -> float:
    """Return how far down the course goes, also below the attribution."""
    box = await page.page.locator("#map").bounding_box()
    assert box is not None
    attribution = page.page.locator(ATTRIBUTION)
    await attribution.evaluate("(element) => { element.style.visibility = 'hidden'; }")
    share = await page.on_picture(_END_OF_COURSE)
    await attribution.evaluate("(element) => { element.style.visibility = ''; }")
    return float(box["y"] + share * box["height"]) if share is not None else math.inf


async def test_attribution_on_the_smallest_phone(site: Site, tmp_path: Path) -> None:
    """However long, it covers neither legend nor course; beside a chosen device it is a button, which opens it."""
    write_other(tmp_path / "race.pmtiles", LONG)
    await enter(site.database, {"7": [ONE]})
    await site.database.execute("ALTER TABLE events ADD course jsonb")
    await site.database.execute("UPDATE events SET course = $1", json.dumps(COURSE))
    worker = await site.serve(LIVE_BASEMAP=str(tmp_path / "race.pmtiles"))
    async with site.page(worker, **SMALLEST_PHONE, color_scheme="light", reduced_motion="reduce") as page:
        await open_at_the_course(site, page)
        text = page.page.locator(".maplibregl-ctrl-attrib-inner")
        await expect(text).to_contain_text("in the rain")
        left, top, right, bottom = await touch(page, ATTRIBUTION)
        assert bottom <= (await touch(page, "#legend"))[1]
        # Otherwise it would not matter how far down the course goes.
        assert left < 160 < right

        async def is_clear() -> bool:
            await page.page.get_by_role("button", name="Show all").tap()
            return await end_of_course(page) < top

        await eventually(is_clear, timeout_s=TIMEOUT_S, message="the course ends above the attribution")
        await page.page.locator(f"li[data-device-id='{ONE}']").tap()
        await expect(text).to_be_hidden()
        assert (await touch(page, BUTTON))[0] >= (await touch(page, "#legend"))[2]
        await page.page.locator(BUTTON).tap()
        await expect(text).to_be_in_viewport(ratio=1)
        assert (await touch(page, ATTRIBUTION))[3] <= (await touch(page, "#legend"))[1]
        assert page.complaints == []


async def test_a_file_that_is_replaced(site: Site, place: Path, tmp_path: Path) -> None:
    """An open map goes over to the new file; a phone too says whose data it is, as text."""
    path = tmp_path / "race.pmtiles"
    write_other(path, HOSTILE)
    await enter(site.database, {"7": [ONE]})
    worker = await site.serve(LIVE_BASEMAP=str(path))
    async with site.page(worker, **PHONE, color_scheme="light", reduced_motion="reduce") as page:
        await open_at_the_course(site, page)
        await until_shown(page, lambda found: ("water", "river") in found, "the river is drawn")
        attribution = page.page.locator(".maplibregl-ctrl-attrib-inner")
        await expect(attribution).to_be_in_viewport(ratio=1)
        await expect(attribution).to_have_text(re.compile(re.escape("© Ana & Bo <script> more")))
        await expect(attribution.locator("img, b, script, [href*=elsewhere]")).to_have_count(0)
        shutil.copy(place, tmp_path / "new.pmtiles")
        (tmp_path / "new.pmtiles").rename(path)
        # Far enough for a tile that was not in view before.
        for _ in range(3):
            await page.page.get_by_role("button", name="Zoom out").tap()
        await until_shown(page, lambda found: ("landuse", "wood") in found, "the new file is drawn")
        assert page.complaints == []
