"""What was, on the live map in a real Chromium: trails after a reload, and replays."""

from __future__ import annotations

from playwright.async_api import expect

from tests.app.live.browsing import TIMEOUT_S, enter
from tests.app.live.harness import now_ms, publish
from tests.app.live.http.map.test_map import AHEAD_S, ONE, TWO, Site, site
from tests.support.waiting import eventually

__all__ = ("site",)


async def test_trails_reach_back_after_a_reload(site: Site) -> None:
    """A page that is opened, or loaded again, shows the way that each device came, also when it sends rarely."""
    await enter(site.database, {"7": [ONE, TWO]})
    worker = await site.serve()
    now = now_ms()
    ways = {ONE: (1000, [41 + n / 10_000 for n in range(30)]), TWO: (60_000, [42 + n / 1000 for n in range(20)])}
    for device, (every_ms, way) in ways.items():
        for n, latitude in enumerate(way):
            await publish(site.redis, site.stream, device, now - every_ms * (len(way) - n), lat=latitude)
    await site.stored(50)
    async with site.page(worker) as page:
        for _ in range(2):
            await page.open("7")
            await page.until("live")
            for device, (_, way) in ways.items():
                expected = [round(latitude, 6) for latitude in way]

                async def as_expected(device: str = device, expected: list[float] = expected) -> bool:
                    return await page.trail(device) == expected

                await eventually(as_expected, timeout_s=TIMEOUT_S, message=f"the way of {device} is shown")
            await page.page.reload()
        assert page.complaints == []


async def test_an_event_is_replayed(site: Site) -> None:
    """The slider jumps by mouse and key, the devices are where they were, at any speed, and what is live comes back."""
    await enter(site.database, {"7": [ONE, TWO]})
    worker = await site.serve()
    # Pieces of the past are of two minutes: second 300 is in the middle of one. And long ago: the replay ends where the
    # event did, and not in what is live.
    start = now_ms() // 120_000 * 120_000 - 1_680_000
    async with site.redis.pipeline(transaction=False) as pipeline:
        for second in range(600):
            await publish(pipeline, site.stream, ONE, start + 1000 * second, lat=41 + second / 1000)
        await publish(pipeline, site.stream, TWO, start + 200_000, lat=43)
        await pipeline.execute()
    await site.stored(601)
    async with site.page(worker) as page:
        await page.open("7")
        await page.until_devices({ONE: 41.599, TWO: 43})
        slider = page.page.get_by_role("slider", name="Time")
        await page.page.get_by_role("button", name="Replay").click()
        await expect(page.page.locator("#status-text")).to_have_text("Replay")
        await page.page.get_by_role("button", name="Pause").click()
        first = int(await slider.get_attribute("min") or 0)
        assert first == start // 1000
        for second, expected in ((150, {ONE: 41.15}), (590, {ONE: 41.59, TWO: 43}), (300, {ONE: 41.3, TWO: 43})):
            await slider.fill(str(first + second))
            await page.until_devices(expected)
        assert (await page.trail(ONE))[-90:] == [round(41 + second / 1000, 6) for second in range(211, 301)]
        await slider.press("ArrowRight")
        await page.until_devices({ONE: 41.31, TWO: 43})
        await page.page.get_by_role("button", name="+1 min").click()
        await page.until_devices({ONE: 41.37, TWO: 43})
        await site.publish({ONE: 45})
        await page.page.get_by_role("combobox", name="Speed").select_option("64")
        await page.page.get_by_role("button", name="Play", exact=True).click()

        async def is_near_the_end() -> bool:
            return 41.5 < (await page.devices())[ONE] < 41.6

        await eventually(is_near_the_end, timeout_s=TIMEOUT_S, message="it plays on")
        await page.page.get_by_role("button", name="Back to live").click()
        await page.until_devices({ONE: 45, TWO: 43})
        await site.publish({TWO: 46})
        await page.until_devices({ONE: 45, TWO: 46})
        await expect(page.page.locator("#status-text")).to_have_text("Live")
        assert page.complaints == []


async def test_an_event_that_is_left_during_its_replay_asks_nothing_of_the_next(site: Site) -> None:
    """Until the next event is live, nothing is asked about it: there may be none."""
    asked: list[str] = []
    async with site.watching(ONE) as tab:
        await site.publish({ONE: 41.1}, ahead_s=-AHEAD_S)
        await site.publish({ONE: 41.2})
        await site.stored(2)
        await tab.page.get_by_role("button", name="Replay").click()
        await expect(tab.page.locator("#status-text")).to_have_text("Replay")
        tab.page.on("request", lambda request: asked.append(request.url))
        await tab.open("8")
        await tab.until("not-found")
        assert [url for url in asked if "/live/history?event=8" in url or "/live/course?event=8" in url] == []
        assert tab.complaints == []
