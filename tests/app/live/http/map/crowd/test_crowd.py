"""The live map with two thousand devices: what is shown is right, however many move. Run the package to measure it."""

from __future__ import annotations

from playwright.async_api import expect

from tests.app.live.browsing import TIMEOUT_S, browser, map_page
from tests.app.live.http.map.crowd.measure import WITHOUT_DRAWING
from tests.app.live.http.map.crowd.server import EVENT, Crowd, serving
from tests.support.waiting import eventually

DEVICES = 2_000
NEWEST = "() => Math.max(...window.telemetryMap.devices().map(({ ts }) => ts))"
OLDEST = "() => Math.min(...window.telemetryMap.devices().map(({ ts }) => ts))"


async def test_a_crowd_is_shown() -> None:
    """Every device is there and goes on, the list has the rows that can be seen, and finds anybody by name."""
    crowd = Crowd(DEVICES)
    async with serving(crowd) as address, browser() as running, map_page(running, address.rstrip("/")) as tab:
        page = tab.page
        await page.add_init_script(WITHOUT_DRAWING)
        await tab.open(EVENT)
        await tab.until("live")
        await expect(page.locator("body")).to_have_attribute("data-device-count", str(DEVICES))
        await expect(page.locator("#count")).to_have_text("2,000")
        assert await page.locator("#devices li").count() < 100
        shown_ms = await page.evaluate(NEWEST)

        async def all_went_on() -> bool:
            return bool(await page.evaluate(OLDEST) > shown_ms)

        await eventually(all_went_on, timeout_s=TIMEOUT_S, message="every device has gone on")
        await page.locator("#filter").fill("aïcha h")
        await expect(page.locator("#devices li .name").first).to_have_text("Aïcha Haddad")
        assert tab.complaints == []
