"""The live map with two thousand devices: what is shown is right, however many move. Run the package to measure it."""

from __future__ import annotations

from playwright.async_api import expect

from tests.app.live.browsing import TIMEOUT_S, browser, map_page
from tests.app.live.http.map.crowd.devtools import devtools
from tests.app.live.http.map.crowd.measure import WITHOUT_DRAWING
from tests.app.live.http.map.crowd.server import EVENT, Crowd, serving
from tests.support.waiting import eventually

DEVICES = 2_000
NEWEST = "() => Math.max(...window.telemetryMap.devices().map(({ ts }) => ts))"
SPREAD = """(() => {
  const times = window.telemetryMap.devices().map(({ ts }) => ts);
  return times.length > 0 ? [Math.min(...times), Math.max(...times)] : null;
})()"""
#: Of frames: hundreds of positions for each picture.
FLOOD_S = 60
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


async def test_a_flood_leaves_nobody_behind() -> None:
    """However much faster than it draws positions come, the page shows everybody where the newest frames say.

    Not by Playwright, which is told of every frame, and hears of all else behind them.
    """
    crowd = Crowd(DEVICES)
    crowd.unhurried.clear()
    async with serving(crowd) as address, devtools() as tools, tools.tab(WITHOUT_DRAWING) as session:
        await tools.ask("Page.navigate", session, url=f"{address}#event={EVENT}")

        async def shown() -> list[int]:
            spread: list[int] | None = await tools.evaluate(session, SPREAD)
            return spread or []

        begin_ms, _ = await eventually(shown, message="devices are shown")

        async def went_on() -> list[int]:
            spread = await shown()
            return spread if spread[0] > begin_ms + FLOOD_S * 1000 else []

        oldest_ms, newest_ms = await eventually(went_on, timeout_s=TIMEOUT_S, message="every device has gone on")
        # From one round of frames to the next.
        assert newest_ms - oldest_ms < 1000
