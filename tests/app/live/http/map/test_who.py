"""Who the devices are, on the live map in a real Chromium."""

from __future__ import annotations

import re

import asyncpg
from playwright.async_api import expect

from telemetry_app.live.wire.texts import MAX_TEXT
from tests.app.live.browsing import TIMEOUT_S, MapPage, enter
from tests.app.live.http.map.test_map import AHEAD_S, ONE, OTHER, PHONE, TWO, Site, site
from tests.support.waiting import eventually

__all__ = ("site",)

HOSTILE = "<img src=x onerror=console.error(1)> Ana"
RED = (228, 0, 43)
LONG_NAME, LONG_NUMBER = ("Bartholomew " * 7)[:80], "1234567890" * 50
#: Of these is cut, with an ellipsis, what does not fit.
CUT = [f"li[data-device-id='{ONE}'] .{part}" for part in ("name", "number")] + ["#panel-id", "#panel-number"]
_IS_CUT = """(element) => {
  const { overflow, textOverflow, webkitLineClamp } = getComputedStyle(element);
  const isOnOneLine = textOverflow === "ellipsis" && element.scrollWidth > element.clientWidth;
  const isOnSome = webkitLineClamp !== "none" && element.scrollHeight > element.clientHeight;
  return overflow === "hidden" && element.clientWidth > 0 && (isOnOneLine || isOnSome);
}"""
_RIDERS = """
ALTER TABLE entries ADD name text, ADD number integer, ADD class text, ADD color text, ADD team text;
INSERT INTO entries VALUES
    (10, '7', $name$<img src=x onerror=console.error(1)> Ana$name$, 12, 'Juniors', '#e4002b', 'Vardar'),
    (11, '7', 'Bo Jensen', 7, NULL, 'url(//evil)', NULL);
"""


async def enter_riders(database: asyncpg.Connection) -> None:
    """Enter three devices in an event; two of them have riders."""
    await enter(database, {"7": [ONE, TWO, OTHER]})
    await database.execute(_RIDERS)
    for entry_id, device_id in ((10, ONE), (11, TWO)):
        await database.execute("UPDATE entry_devices SET entry_id = $1 WHERE device_id = $2", entry_id, device_id)


async def marked(page: MapPage) -> bool:
    """Tell whether a start number is shown on the map in its colour."""
    return any(tuple(rgb) == RED and count > 30 for *rgb, count in await page.map_colours())


async def test_riders_have_names(site: Site) -> None:
    """Name, number, class and colour are in list, label, panel and filter, whatever they hold; else the device's id."""
    await enter_riders(site.database)
    worker = await site.serve(LIVE_ENTRY_FIELDS="name,number,class,color,team,missing")
    async with site.page(worker) as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until("live")
        await site.publish({ONE: 41.1, TWO: 41.2, OTHER: 41.3}, ahead_s=AHEAD_S)
        await map_page.until_rows(TWO, ONE, OTHER)
        await expect(page.locator("#devices .name")).to_have_text(["Bo Jensen", HOSTILE, OTHER])
        option = page.get_by_role("option", name=f"12 {HOSTILE} Juniors 33 km/h")
        await expect(option.locator(".number")).to_have_css("background-color", f"rgb{RED}")
        await eventually(lambda: marked(map_page), timeout_s=TIMEOUT_S, message="the number is on the map")
        await option.click()
        panel = page.get_by_role("complementary", name="Selected device")
        await expect(panel.get_by_role("heading")).to_have_text(re.compile(rf"12\s*{re.escape(HOSTILE)}"))
        for text in ("Juniors", "Vardar", ONE):
            await expect(panel.get_by_text(text, exact=True)).to_be_visible()
        for wanted, found in (("junior", ONE), ("jensen", TWO), ("vardar", ONE), (OTHER[-4:], OTHER)):
            await page.locator("#filter").fill(wanted)
            await map_page.until_rows(found)
        await page.locator(f"li[data-device-id='{OTHER}']").click()
        await expect(panel.get_by_role("heading")).to_have_text(OTHER)
        await expect(page.locator("#panel-number")).to_be_hidden()
        assert map_page.complaints == []


async def test_long_names_on_a_phone(site: Site) -> None:
    """On the narrowest phone long names and numbers are cut; tooltips say all that the page gets of them.

    Nothing is scrolled sideways, and the panel stays in view; held sideways, all of it is in view, too.
    """
    await enter_riders(site.database)
    await site.database.execute("ALTER TABLE entries ALTER number TYPE text")
    await site.database.execute("UPDATE entries SET name = $1, number = $2 WHERE id = 10", LONG_NAME, LONG_NUMBER)
    worker = await site.serve()
    async with site.page(worker, **PHONE | {"viewport": {"width": 320, "height": 640}}) as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until("live")
        await site.publish({ONE: 41.1, TWO: 41.2})
        await map_page.until_rows(TWO, ONE)
        await page.locator(f"li[data-device-id='{ONE}']").tap()
        for selector, said in zip(CUT, (LONG_NAME, LONG_NUMBER[:MAX_TEXT]) * 2, strict=True):
            await expect(page.locator(selector)).to_have_attribute("title", re.compile(rf"\b{said}\b"))
            assert await page.locator(selector).evaluate(_IS_CUT), selector
        await expect(page.locator("#panel")).to_be_in_viewport(ratio=1)
        box = await page.locator("#panel header").bounding_box()
        assert box is not None
        assert box["height"] < 60
        widths = await page.evaluate("() => [document.documentElement.scrollWidth, visualViewport.width]")
        assert widths == [320, 320]
        await page.set_viewport_size({"width": 740, "height": 360})
        await expect(page.locator("#follow")).to_be_in_viewport(ratio=1)
        assert map_page.complaints == []
