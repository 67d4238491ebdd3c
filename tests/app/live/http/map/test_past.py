"""What was, on the live map in a real Chromium: trails after a reload."""

from __future__ import annotations

from tests.app.live.browsing import TIMEOUT_S, enter
from tests.app.live.harness import now_ms, publish
from tests.app.live.http.map.test_map import ONE, TWO, Site, site
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
