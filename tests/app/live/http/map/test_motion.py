"""Markers between two positions, and the age of positions, in a real Chromium whose clock the test turns."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from playwright.async_api import expect

from tests.app.live.browsing import TIMEOUT_S, MapPage, browser, map_page
from tests.app.live.harness import Side, live_side, now_ms
from tests.support.waiting import eventually

INTERVAL_MS = 10_000
#: The clock is stopped at a time that is still to come, however long it takes to say so.
AHEAD_S = 120
STEP_DEGREES = 0.006
#: What is driven in an interval, at the zoom at which a single device is shown.
STEP_PX = 140
#: A twentieth of it, and two for the edge of the marker.
TOLERANCE_PX = 9
_FRONT = """({ data, width }) => {
  let right = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue] = data.slice(at, at + 3);
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > 110) right = Math.max(right, (at / 4) % width);
  }
  return right;
}"""


class Turned:
    """A map with one device that drives east, in a browser whose clock is years slow and stands still."""

    def __init__(self, side: Side, map_page: MapPage, began_ms: int) -> None:
        self.map = map_page
        self.began_ms = began_ms
        self.page = map_page.page
        self._side = side
        self._lon = 21.0

    async def go_on(self, ms: int) -> None:
        """Let time pass, and everything that is due be drawn."""
        await self.page.clock.fast_forward(ms - 50)
        await self.page.clock.run_for(50)

    async def report(self) -> None:
        """Let the device be a step further east, at this moment of the page's time."""
        self._lon = round(self._lon + STEP_DEGREES, 6)
        await self._side.publish("a", await self.now(), lat=42.0, lon=self._lon)

        async def is_there() -> bool:
            devices = await self.page.evaluate("() => window.telemetryMap.devices()")
            return [device["lon"] for device in devices] == [self._lon]

        await eventually(is_there, timeout_s=TIMEOUT_S, message="it is there")
        await self.page.clock.run_for(50)

    async def now(self) -> int:
        """Return the page's time of the server, epoch milliseconds."""
        return int(await self.page.evaluate("() => Math.round(window.telemetryMap.now())"))

    async def pictures(self) -> int:
        """Return how often the map was drawn."""
        return int(await self.page.evaluate("() => window.telemetryMap.counters().pictures"))

    async def front(self) -> int:
        """Return how far east the colour of the marker reaches, in pixels; 0 when it is grey."""
        return int(await self.map.on_picture(_FRONT))


@pytest.fixture
async def turned(redis_url: str, stream: str) -> AsyncIterator[Turned]:
    async with contextlib.AsyncExitStack() as stack:
        side = await stack.enter_async_context(live_side(redis_url, stream, devices={"7": ["a"]}))
        running = await stack.enter_async_context(browser())
        tab = await stack.enter_async_context(map_page(running, side.url))
        name, _, value = side.cookie.partition("=")
        await tab.page.context.add_cookies([{"name": name, "value": value, "url": side.url}])
        await tab.page.clock.install(time=datetime(2020, 1, 1, tzinfo=UTC))
        began_ms = now_ms()
        await tab.open("7")
        await tab.until("live")
        await tab.page.clock.pause_at(await tab.page.evaluate("() => Date.now() / 1000") + AHEAD_S)
        yield Turned(side, tab, began_ms)


async def test_a_marker_glides(turned: Turned) -> None:
    """Half an interval after a position the marker is half way there, then there and no further; the map then rests."""
    await turned.report()
    start = await turned.front()
    await turned.go_on(INTERVAL_MS)
    await turned.report()
    for passed_ms, share in ((100, 0.0), (INTERVAL_MS // 2, 0.5), (INTERVAL_MS // 2, 0.9), (INTERVAL_MS, 1.0)):
        await turned.go_on(passed_ms)
        assert await turned.front() - start == pytest.approx(share * STEP_PX, abs=TOLERANCE_PX)

    async def rests() -> bool:
        # What the map's own threads have made ready meanwhile is drawn once more.
        pictures = await turned.pictures()
        await turned.page.clock.run_for(INTERVAL_MS)
        return await turned.pictures() == pictures

    await eventually(rests, message="the map rests")
    await turned.page.emulate_media(reduced_motion="reduce")
    await turned.report()
    assert await turned.front() - start == pytest.approx(2 * STEP_PX, abs=TOLERANCE_PX)


async def test_a_device_turns_grey_by_its_own_rhythm(turned: Turned) -> None:
    """By the server's clock, and not the browser's, list and panel tell its age; after three intervals it is grey."""
    assert turned.began_ms <= await turned.now() <= now_ms() + 1000 * AHEAD_S
    row, panel = turned.page.locator("#devices li"), turned.page.locator("#panel")
    for _ in range(2):
        await turned.report()
        await turned.go_on(INTERVAL_MS)
    assert await turned.front() > 0
    await turned.go_on(2_500)
    await expect(row).to_have_text(re.compile("12 s$"))
    await expect(row).to_have_attribute("data-stale", "false")
    assert await turned.front() > 0
    await turned.go_on(20_000)
    await expect(row).to_have_text(re.compile("32 s$"))
    await expect(row).to_have_attribute("data-stale", "true")
    assert await turned.front() == 0
    await row.click()
    await turned.go_on(30_000)
    await expect(panel.locator("#panel-age")).to_have_text("1 min 2 s ago")
