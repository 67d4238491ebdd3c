"""The live map where it is not as usual, in a real Chromium: across 180° of longitude, without graphics."""

from __future__ import annotations

from playwright.async_api import expect

from tests.app.live.browsing import enter
from tests.app.live.harness import now_ms, publish
from tests.app.live.http.map.test_map import ONE, TWO, Site, painted, site
from tests.support.waiting import eventually

__all__ = ("site",)

_LOSE = """() => {
  const context = document.querySelector("#map canvas.maplibregl-canvas").getContext("webgl2");
  window.graphics = context.getExtension("WEBGL_lose_context");
  window.graphics.loseContext();
}"""


async def test_a_race_across_180_degrees(site: Site) -> None:
    """The race is shown and not the world: its devices are at both sides of the map, where a click finds them."""
    await enter(site.database, {"7": [ONE, TWO]})
    worker = await site.serve()
    async with site.page(worker) as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until("live")
        for device, longitude in ((ONE, 179.7), (TWO, -179.7)):
            await publish(site.redis, site.stream, device, now_ms(), lat=-17.0, lon=longitude)
        await map_page.until_devices({ONE: -17.0, TWO: -17.0})
        await page.get_by_role("button", name="Show all").click()
        # A bar of at most 120 pixels: the 64 km of the race are some 800 wide.
        await expect(page.locator(".maplibregl-ctrl-scale")).to_have_text("5 km", timeout=20_000)
        box = await page.locator("#map").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        for device, x in ((ONE, box["x"] + 80), (TWO, box["x"] + box["width"] - 80)):
            await page.mouse.click(x, middle)
            await expect(page.locator("#panel-id")).to_have_text(device)
            await page.keyboard.press("Escape")
        await eventually(lambda: painted(map_page, dark=False, markers=True), timeout_s=20, message="they are painted")
        assert map_page.complaints == []


async def test_graphics_that_do_not_come_back(site: Site) -> None:
    """Without its graphics the page does not say that it is live, but why; the list goes on, and a reload helps."""
    await enter(site.database, {"7": [ONE]})
    worker = await site.serve()
    async with site.page(worker) as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until("live")
        await page.evaluate(_LOSE)
        await map_page.until("connecting")
        await page.evaluate("() => window.graphics.restoreContext()")
        await map_page.until("live")
        await site.publish({ONE: 41.1})
        await eventually(lambda: painted(map_page, dark=False, markers=True), timeout_s=20, message="it is back")
        await page.evaluate(_LOSE)
        await map_page.until("no-map")
        await expect(page.get_by_role("heading", name="This browser cannot draw the map.")).to_be_visible()
        await expect(page.locator("#status-text")).not_to_contain_text("Live")
        await site.publish({ONE: 41.2})
        await map_page.until_devices({ONE: 41.2})
        await page.get_by_role("button", name="Reload").click()
        await map_page.until("live")
        assert map_page.complaints == []
