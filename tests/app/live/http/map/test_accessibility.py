"""The live map as axe-core sees it: what keeps people out who see little, or use a keyboard or a screen reader."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.app.live.http.map.test_map import AHEAD_S, ONE, TWO, Site, site
from tests.project.test_webmap import SOURCES
from tests.support.servers.npm import install_project

__all__ = ("site",)

SIZES = {"desktop": (1280, 720), "phone": (390, 844)}
_VIOLATIONS = """async () => (await axe.run({ resultTypes: ["violations"] })).violations.flatMap(
  ({ id, nodes }) => nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`))"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as webmap/package.json names it."""
    return (install_project(SOURCES) / "node_modules/axe-core/axe.min.js").read_text()


async def violations(page: Page) -> list[str]:
    """Return what axe finds, in dark and light and at each size."""
    found: list[str] = []
    for name, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await expect(page.locator("html")).to_have_attribute("data-theme", scheme)
            found += [f"{name}, {scheme}: {violation}" for violation in await page.evaluate(_VIOLATIONS)]
    return found


async def test_no_violations(site: Site, axe: str) -> None:
    """Neither with a device chosen and the past open, nor where the page says why nothing is shown."""
    async with site.watching(ONE, TWO) as tab:
        page = tab.page
        # Enough of the past for a replay that does not come to its end meanwhile.
        await site.publish({ONE: 41.1, TWO: 41.2}, ahead_s=-AHEAD_S)
        await site.stored(2)
        await site.publish({ONE: 41.1, TWO: 41.2})
        await tab.until_rows(ONE, TWO)
        await page.locator(f"li[data-device-id='{TWO}']").click()
        await page.get_by_role("button", name="Replay").click()
        await expect(page.get_by_role("slider", name="Time")).to_be_visible()
        await page.evaluate(axe)
        assert await violations(page) == []
        await tab.open("8")
        await tab.until("not-found")
        assert await violations(page) == []
        assert tab.complaints == []
