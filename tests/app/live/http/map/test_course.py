"""The course of an event, on the live map in a real Chromium."""

from __future__ import annotations

import json

from tests.app.live.browsing import TIMEOUT_S, MapPage, enter
from tests.app.live.http.map.test_map import ONE, Site, site
from tests.support.waiting import eventually

__all__ = ("site",)

#: 126 km to the east along a parallel, beginning where devices are.
_LINE = [[21.0 + n / 10, 41.0] for n in range(16)]
_COURSE = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": _LINE}, "properties": {}},
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": _LINE[7]},
            "properties": {"name": "Feed zone"},
        },
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": _LINE[0]}, "properties": {"name": "Start"}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": _LINE[15]}, "properties": {"name": "Finish"}},
    ],
}
#: The colour of the line in the light.
_PAINT = (74, 91, 124)


async def until_shown(page: MapPage, *texts: str, hidden: tuple[str, ...] = ()) -> None:
    """Wait until these texts stand beside the course, and those do not."""

    async def as_expected() -> bool:
        shown = set(await page.page.evaluate("() => window.telemetryMap.course()"))
        return shown >= set(texts) and not shown & set(hidden)

    await eventually(as_expected, timeout_s=TIMEOUT_S, message=f"{texts} are shown and {hidden} are not")


async def drawn(page: MapPage) -> bool:
    return sum(count for *rgb, count in await page.map_colours() if tuple(rgb) == _PAINT) > 300


async def test_the_course_is_shown(site: Site) -> None:
    """All of it is in view at first and with Show all: start, finish, marks, and kilometres as close as one looks."""
    await enter(site.database, {"7": [ONE], "8": []})
    await site.database.execute("ALTER TABLE events ADD course jsonb")
    await site.database.execute("UPDATE events SET course = $1 WHERE id = '7'", json.dumps(_COURSE))
    worker = await site.serve()
    async with site.page(worker, color_scheme="light", reduced_motion="reduce") as page:
        await page.open("7")
        await page.until("live")
        everything = ("Start", "Finish", "Feed zone", "10 km", "20 km", "100 km")
        await until_shown(page, *everything, hidden=("1 km", "5 km"))
        await site.publish({ONE: 41.0})
        await page.until_rows(ONE)
        await eventually(lambda: drawn(page), timeout_s=TIMEOUT_S, message="the line is drawn")
        await page.page.locator(f"li[data-device-id='{ONE}']").click()
        await until_shown(page, "Start", "1 km", "2 km", hidden=("Finish", "100 km"))
        for _ in range(2):
            await page.page.get_by_role("button", name="Zoom out").click()
        await until_shown(page, "Start", "5 km", "10 km", hidden=("1 km", "Finish"))
        await page.page.get_by_role("button", name="Show all").click()
        await until_shown(page, *everything, hidden=("1 km", "5 km"))
        await page.page.emulate_media(color_scheme="dark")
        await until_shown(page, *everything)
        await page.open("8")
        await page.until("live")
        await until_shown(page, hidden=everything)
        assert page.complaints == []
