"""What stands on the map, and where, on the live map in a real Chromium."""

from __future__ import annotations

import json
from functools import partial

from playwright.async_api import expect

from tests.app.live.browsing import TIMEOUT_S, MapPage, enter
from tests.app.live.harness import now_ms, publish
from tests.app.live.http.map.test_map import AHEAD_S, ONE, TWO, Site, site
from tests.support.waiting import eventually

__all__ = ("site",)

#: Hyphens of Hebrew: read from the right like its letters, and flat, by which they are told from digits.
FLAT = "\u05be" * 8
#: Below its start is a text, over which the name right of a marker would stand at that place.
COURSE = {"type": "LineString", "coordinates": [[21.0, 41.0], [21.0, 41.01]]}
BESIDE_START = (40.99945, 20.99914)
#: Of a name, in the light.
LABEL_INK = (51, 65, 90)
STRONG_INK = (11, 18, 32)
#: Too wide for either side of a marker in the middle of a narrow phone, but not for the room above or below it.
WIDE = "W" * 14
#: From the upper edge of the map, where a name above a marker would be cut.
TOP_PX = 14
#: Latitude at zoom 14 there.
DEGREES_OF_PIXEL = 360 / 512 / 2**14 * 0.7547
_NEXT_PICTURE = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
#: How tall the dark ink of a label is in each column that has any, from left to right.
_INK = """({ data, width, height }) => {
  const isDark = (x, y) => [0, 1, 2].every((part) => data[4 * (y * width + x) + part] < 70);
  const rows = Array.from({ length: height }, (_, y) => y);
  const columns = Array.from({ length: width }, (_, x) => rows.filter((y) => isDark(x, y)));
  return columns.filter((dark) => dark.length > 0).map((dark) => dark.at(-1) - dark[0] + 1);
}"""
#: The first row that has the ink of a name.
_TOP_OF_NAME = f"""({{ data, width }}) => {{
  const isName = (at) => {list(LABEL_INK)}.every((part, offset) => data[at + offset] === part);
  for (let at = 0; at < data.length; at += 4) if (isName(at)) return Math.floor(at / 4 / width);
}}"""
#: Whether markers and names have so many pixels for each of the page.
_IS_SHARP = """(ratio) => [...document.querySelectorAll("#map canvas")].every((canvas) =>
  devicePixelRatio === ratio && canvas.clientWidth > 0 && Math.abs(canvas.width / canvas.clientWidth - ratio) < 0.01)"""
#: The rectangle around all that has the colour of a speed: left, top, right, bottom.
_MARKERS = """({ data, width }) => {
  const found = [Infinity, Infinity, -Infinity, -Infinity];
  for (let at = 0; at < data.length; at += 4) {
    const rgb = [data[at], data[at + 1], data[at + 2]];
    if (Math.max(...rgb) - Math.min(...rgb) < 110) continue;
    const [x, y] = [(at / 4) % width, Math.floor(at / 4 / width)];
    found.splice(0, 4, Math.min(found[0], x), Math.min(found[1], y), Math.max(found[2], x), Math.max(found[3], y));
  }
  return found;
}"""
#: Of the map, from its upper left corner: the part beside, below or above panel and list.
_FREE = """() => {
  const box = (name) => document.querySelector(name).getBoundingClientRect();
  const [map, panel, side] = ["#map", "#panel", "#side"].map(box);
  const isPhone = side.width === innerWidth;
  const [left, top] = isPhone ? [0, panel.bottom - map.top] : [panel.right - map.left, 0];
  return [left, top, map.width, isPhone ? side.top - map.top : map.height];
}"""


async def test_what_is_written_can_be_read(site: Site) -> None:
    """Behind a name that is read from the right stands its age; a name that would cover Start leaves it room."""
    await enter(site.database, {"7": [ONE], "8": [TWO]})
    await site.database.execute("ALTER TABLE entries ADD name text; ALTER TABLE events ADD course jsonb")
    await site.database.execute("UPDATE entries SET name = $1 WHERE event_id = '7'", FLAT)
    await site.database.execute("UPDATE events SET course = $1 WHERE id = '8'", json.dumps(COURSE))
    worker = await site.serve()
    async with site.page(worker, color_scheme="light", reduced_motion="reduce") as tab:
        page = tab.page
        await tab.open("7")
        await tab.until("live")
        await site.publish({ONE: 41.0}, ahead_s=-AHEAD_S)
        await tab.until_devices({ONE: 41.0})
        await page.get_by_role("button", name="Show all").click()
        columns: list[int] = []

        async def points_at_a_label() -> bool:
            box = await page.locator("#map").bounding_box()
            assert box is not None
            await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            columns[:] = await tab.on_picture(_INK)
            return len(columns) > 40

        await eventually(points_at_a_label, timeout_s=TIMEOUT_S, message="the label is dark")
        assert max(columns[:20]) < 5 < max(columns[-20:])
        name = page.locator("#devices .name")
        await expect(name).to_have_attribute("title", f"\u2068{FLAT}\u2069 · \u2068{ONE}\u2069")
        await name.click()
        for selector in ("#devices .name", "#panel-id"):
            await expect(page.locator(selector)).to_have_css("direction", "rtl")
            await expect(page.locator(selector)).to_have_css("text-align", "left")
        await tab.open("8&view=41,21,14")
        lat, lon = BESIDE_START
        await publish(site.redis, site.stream, TWO, now_ms() + 1000 * AHEAD_S, lat=lat, lon=lon)
        await eventually(lambda: is_named(tab), timeout_s=TIMEOUT_S, message="the name is written")
        await eventually(lambda: shows(tab, "Start"), timeout_s=TIMEOUT_S, message="Start is shown beside it")
        assert tab.complaints == []


async def is_named(tab: MapPage) -> bool:
    """Tell whether the name of a device that is not overdue stands on the map, in the light."""
    return any(tuple(rgb) == LABEL_INK and count > 20 for *rgb, count in await tab.map_colours())


async def shows(tab: MapPage, text: str) -> bool:
    """Tell whether this text stands beside the course."""
    return bool(await tab.page.evaluate("(text) => window.telemetryMap.course().includes(text)", text))


async def test_start_has_room_on_a_small_map(site: Site) -> None:
    """On a narrow phone, at the edge of the map, a name that has no other place than that of Start is left away."""
    await enter(site.database, {"7": [ONE], "8": []})
    await site.database.execute("ALTER TABLE entries ADD name text; ALTER TABLE events ADD course jsonb")
    await site.database.execute("UPDATE entries SET name = $1", WIDE)
    await site.database.execute("UPDATE events SET course = $1 WHERE id = '7'", json.dumps(COURSE))
    narrow = {"viewport": {"width": 320, "height": 640}}
    async with site.page(await site.serve(), **narrow, reduced_motion="reduce") as tab:
        await tab.open("8")
        await tab.until("live")
        box = await tab.page.locator("#map").bounding_box()
        assert box is not None
        lat = 41 - (box["height"] / 2 - TOP_PX) * DEGREES_OF_PIXEL
        await tab.open(f"7&view={lat:.5f},21,14")
        await eventually(lambda: shows(tab, "Start"), timeout_s=TIMEOUT_S, message="Start is shown")
        await site.publish({ONE: 41.0}, ahead_s=AHEAD_S)
        await tab.until_devices({ONE: 41.0})
        await tab.page.evaluate(_NEXT_PICTURE)
        assert await shows(tab, "Start")
        assert not await is_named(tab)
        assert tab.complaints == []


async def all_is_clear(tab: MapPage) -> bool:
    """Let all be shown; tell whether both markers are where nothing lies on the map."""
    await tab.page.get_by_role("button", name="Show all").click()
    left, top, right, bottom = await tab.on_picture(_MARKERS)
    free = await tab.page.evaluate(_FREE)
    is_inside: bool = left > free[0] and top > free[1] and right < free[2] and bottom < free[3]
    return is_inside and right - left > 60


async def test_show_all_keeps_clear_of_panel_and_list(site: Site) -> None:
    """Nothing of what is shown is below them: on a desktop, a phone, and a phone held sideways."""
    async with site.watching(ONE, TWO, color_scheme="light", reduced_motion="reduce") as tab:
        page = tab.page
        for device, lat, lon in ((ONE, 41.0, 21.0), (TWO, 41.2, 21.6)):
            await publish(site.redis, site.stream, device, now_ms() + 1000 * AHEAD_S, lat=lat, lon=lon)
        await tab.until_rows(ONE, TWO)
        await page.locator(f"li[data-device-id='{TWO}']").click()
        for width, height in ((1280, 720), (390, 844), (740, 360)):
            await page.set_viewport_size({"width": width, "height": height})
            await expect(page.locator("#panel")).to_be_visible()
            await eventually(
                partial(all_is_clear, tab), timeout_s=TIMEOUT_S, message=f"both are in the free part, {width=}"
            )
        assert tab.complaints == []


async def strong(tab: MapPage) -> bool:
    """Tell whether the name of a device that somebody points at stands on the map, in the light."""
    return any(tuple(rgb) == STRONG_INK and count > 20 for *rgb, count in await tab.map_colours())


async def test_names_where_the_map_changes_around_them(site: Site) -> None:
    """They stand out only where the mouse is, in another event too, are as sharp as the screen, and not covered."""
    await enter(site.database, {"7": [ONE], "8": [TWO]})
    worker = await site.serve()
    looks = {"color_scheme": "light", "reduced_motion": "reduce"}
    async with site.page(worker, **looks, no_viewport=True) as tab:
        page = tab.page
        await tab.open("7&view=41,21,14")
        await tab.until("live")
        for device, lon in ((ONE, 21.0), (TWO, 21.01)):
            await publish(site.redis, site.stream, device, now_ms() + 1000 * AHEAD_S, lat=41.0, lon=lon)
        await eventually(lambda: is_named(tab), timeout_s=TIMEOUT_S, message="the name is written")
        box = await page.locator("#map").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await eventually(lambda: strong(tab), timeout_s=TIMEOUT_S, message="the name stands out")
        await tab.open("8&view=41,21,14")
        await tab.until_devices({TWO: 41.0})
        await eventually(lambda: is_named(tab), timeout_s=TIMEOUT_S, message="that of another device does not")

        browser = await page.context.new_cdp_session(page)
        width, height = await page.evaluate("() => [innerWidth, innerHeight]")
        screen = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": False}
        await browser.send("Emulation.setDeviceMetricsOverride", screen)
        await page.wait_for_function(_IS_SHARP, arg=2)
        assert tab.complaints == []
    async with site.page(worker, **looks) as tab:
        size = tab.page.viewport_size
        assert size is not None
        # Right of a marker there stands what is below the link.
        lon = 21 + (size["width"] / 2 - 150) * 360 / 512 / 2**14
        lat = 41 - (size["height"] / 2 - 23) * DEGREES_OF_PIXEL
        await tab.page.goto(f"{tab.address}/?embed=1#event=7&view={lat:.5f},{lon:.5f},14")
        await eventually(lambda: is_named(tab), timeout_s=TIMEOUT_S, message="the name is written in the frame")
        link = await tab.page.get_by_role("link", name="Open the whole map").bounding_box()
        assert link is not None
        assert await tab.on_picture(_TOP_OF_NAME) >= link["y"] + link["height"]
        assert tab.complaints == []
