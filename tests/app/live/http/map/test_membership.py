"""Devices that come and go, and a database that is away, on the live map in a real Chromium."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.app.live.browsing import enter
from tests.app.live.http.map.test_map import ONE, TWO, Site, site

__all__ = ("site",)


async def test_a_device_is_taken_out_and_entered_again(site: Site) -> None:
    """It leaves map, list and selection, with its trail; entered again it is where the database has it."""
    await enter(site.database, {"7": [ONE, TWO], "8": [TWO]})
    worker = await site.serve(LIVE_DEVICE_EVENT_REFRESH_MS="1000")
    async with site.page(worker) as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until("live")
        await site.publish({ONE: 41.1, TWO: 41.2})
        await map_page.until_rows(ONE, TWO)
        await page.locator(f"li[data-device-id='{TWO}']").click()
        panel = page.get_by_role("complementary", name="Selected device")
        await expect(panel).to_be_visible()
        await site.stored(2)
        await site.database.execute("DELETE FROM entry_devices WHERE device_id = $1 AND entry_id = 0", TWO)
        await map_page.until_devices({ONE: 41.1})
        await map_page.until_rows(ONE)
        await expect(panel).to_be_hidden()
        assert await map_page.trail(TWO) == []
        await site.publish({TWO: 41.3})
        await site.stored(3)
        await site.database.execute("INSERT INTO entry_devices VALUES (99, 0, $1)", TWO)
        await map_page.until_devices({ONE: 41.1, TWO: 41.3})
        assert await map_page.trail(TWO) == [41.3]
        assert map_page.complaints == []


async def test_the_database_is_away(site: Site) -> None:
    """The map says that devices are missing, and shows them when it is back."""
    await enter(site.database, {"7": [ONE, TWO]})
    await site.leave_behind({ONE: 41.1, TWO: 41.2})
    worker = await site.serve()
    status = re.compile("Devices are still missing")
    async with site.page(worker) as map_page:
        async with site.database.transaction():
            await site.database.execute("LOCK TABLE positions IN ACCESS EXCLUSIVE MODE")
            await map_page.open("7")
            await map_page.until("live")
            await expect(map_page.page.locator("#status-text")).to_have_text(status)
            await site.publish({ONE: 41.5})
            await map_page.until_devices({ONE: 41.5})
        await map_page.until_devices({ONE: 41.5, TWO: 41.2})
        await expect(map_page.page.locator("#status-text")).to_have_text("Live")
        assert map_page.complaints == []
