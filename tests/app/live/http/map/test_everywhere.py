"""The live map where it is not as usual, in a real Chromium: across 180° of longitude, without graphics."""

from __future__ import annotations

import re
from pathlib import Path

import trustme
from playwright.async_api import Route, expect

from tests.app.live.browsing import TIMEOUT_S, enter, map_page
from tests.app.live.harness import now_ms, publish
from tests.app.live.http.map.test_labels import is_named
from tests.app.live.http.map.test_map import AHEAD_S, ONE, PHONE, TWO, Site, site, until_painted
from tests.deploy.proxies import running_nginx, write_certificate
from tests.deploy.test_container import LOOPBACK
from tests.support.servers.proxy import TcpProxy
from tests.support.waiting import eventually

__all__ = ("site",)

_COURSE = """{"type": "LineString", "coordinates": [[22.0, 41.0], [22.0, 41.2]]}"""
_TEXTS = "() => window.telemetryMap.course().length > 0"
#: What of these is not what one touches in its middle: something lies on it, or it is out of sight.
_COVERED = """() => ["#panel", "#panel-close", "#follow", "#legend", "#filter", "#fit"].filter((name) => {
  const element = document.querySelector(name);
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return !element.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2));
})"""
_FREE_MIDDLE = """() => {
  const [map, panel] = ["#map", "#panel"].map((name) => document.querySelector(name).getBoundingClientRect());
  return [(panel.right + map.right) / 2, (map.top + map.bottom) / 2];
}"""
#: What the first device does not wait for.
_AFTERWARDS = re.compile(r"/(world|map-worker)-")
_LOSE = """() => {
  const context = document.querySelector("#map canvas.maplibregl-canvas").getContext("webgl2");
  window.graphics = context.getExtension("WEBGL_lose_context");
  window.graphics.loseContext();
}"""
#: Returns what the page says meanwhile, and before it gives up.
_LOSE_FOR_A_MOMENT = f"""() => new Promise((done) => {{
  const {{ dataset }} = document.body;
  new MutationObserver((_, observer) => {{
    if (dataset.state === "live") return;
    observer.disconnect();
    done(dataset.state);
    // Not before everybody has heard that they are lost.
    setTimeout(() => window.graphics.restoreContext());
  }}).observe(document.body, {{ attributeFilter: ["data-state"] }});
  ({_LOSE})();
}})"""


async def test_a_race_across_180_degrees(site: Site) -> None:
    """The race is shown and not the world: its devices are at both sides of the map, where a click finds them."""
    async with site.watching(ONE, TWO, reduced_motion="reduce") as tab:
        page = tab.page
        for device, longitude in ((ONE, 179.7), (TWO, -179.7)):
            await publish(site.redis, site.stream, device, now_ms() + 1000 * AHEAD_S, lat=-17.0, lon=longitude)
        await tab.until_devices({ONE: -17.0, TWO: -17.0})
        await page.get_by_role("button", name="Show all").click()
        # A bar of at most 120 pixels: the 64 km of the race are some 800 wide.
        await expect(page.locator(".maplibregl-ctrl-scale")).to_have_text("5 km")
        box = await page.locator("#map").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        for device, x in ((ONE, box["x"] + 80), (TWO, box["x"] + box["width"] - 80)):
            await page.mouse.click(x, middle)
            await expect(page.locator("#panel-id")).to_have_text(device)
            await page.keyboard.press("Escape")
        await until_painted(tab, dark=False, markers=True)
        assert tab.complaints == []


async def test_first_load(site: Site) -> None:
    """Until the first device is drawn at most 350 KB go over the wire, headers and the socket included.

    It is drawn without MapLibre's worker and the outlines of countries, which are asked for afterwards.
    """
    await enter(site.database, {"7": [ONE]})
    await site.leave_behind({ONE: 41.1})
    worker = await site.serve()
    carried: list[int] = []
    held: list[Route] = []

    def count(data: bytes) -> bool:
        carried.append(len(data))
        return False

    async def hold(route: Route) -> None:
        held.append(route)

    async with TcpProxy("127.0.0.1", worker.live_port) as proxy:
        proxy.loses = count
        async with map_page(site.browser, f"http://127.0.0.1:{proxy.port}") as tab:
            await tab.page.route(_AFTERWARDS, hold)
            await tab.open("7")
            await tab.until("live")
            await tab.until_devices({ONE: 41.1})
            assert await tab.page.evaluate("() => window.telemetryMap.counters().pictures") > 0
            assert 200_000 < sum(carried) < 350_000
            await eventually(lambda: len(held) == 2, message="what comes afterwards is asked for")
            for route in held:
                await route.continue_()
            await eventually(lambda: sum(carried) > 600_000, message="it comes")
            assert tab.complaints == []


async def test_a_phone_held_sideways(site: Site) -> None:
    """The followed device is beside its panel, where a tap finds it; legend and list are there, nothing is scrolled."""
    sideways = PHONE | {"viewport": {"width": 740, "height": 360}}
    async with site.watching(ONE, TWO, **sideways, reduced_motion="reduce") as tab:
        page = tab.page
        await site.publish({ONE: 41.1, TWO: 41.2})
        await tab.until_rows(ONE, TWO)
        await page.locator(f"li[data-device-id='{TWO}']").tap()
        await page.get_by_role("button", name="Follow").tap()
        assert await page.evaluate(_COVERED) == []
        assert await page.evaluate("() => document.documentElement.scrollWidth") == 740
        place = await page.evaluate(_FREE_MIDDLE)
        await page.locator("#panel-close").tap()

        async def found() -> bool:
            await page.touchscreen.tap(*place)
            return await page.locator("#panel").is_visible()

        await eventually(found, timeout_s=TIMEOUT_S, message="the device is where nothing covers it")
        await expect(page.locator("#panel-id")).to_have_text(TWO)
        assert tab.complaints == []


async def test_below_a_path(site: Site, tmp_path: Path) -> None:
    """Whether or not a proxy leaves the path away, and by IPv6 too, the page gets devices, course and what was."""
    await enter(site.database, {"7": [ONE]})
    await site.database.execute("ALTER TABLE events ADD course text")
    await site.database.execute("UPDATE events SET course = $1", _COURSE)
    plain, whole = await site.serve(), await site.serve(LIVE_HOST=LOOPBACK[-1], LIVE_PATH="/tracking/live")
    certificate = write_certificate(trustme.CA(), tmp_path)
    with running_nginx((plain.live_port, plain.live_port), certificate, tmp_path) as proxy:
        await site.publish({ONE: 41.1})
        for address in (
            f"https://127.0.0.1:{proxy.https_port}/tracking",
            f"http://{LOOPBACK[-1]}:{whole.live_port}/tracking",
        ):
            async with map_page(site.browser, address, ignore_https_errors=True) as page:
                await page.open("7")
                await page.until("live")
                await page.until_devices({ONE: 41.1})
                await page.page.wait_for_function(_TEXTS)
                async with page.page.expect_response("**/live/history/extent?*") as past:
                    await page.page.get_by_role("button", name="Replay").click()
                assert (await past.value).status == 200
                assert page.complaints == []


async def test_behind_a_proxy_that_changes_host(site: Site, tmp_path: Path) -> None:
    """The page says which setting lets it connect."""
    await enter(site.database, {"7": [ONE]})
    worker = await site.serve()
    certificate = write_certificate(trustme.CA(), tmp_path)
    with running_nginx((worker.live_port, worker.live_port), certificate, tmp_path, Host="$proxy_host") as proxy:
        address = f"https://127.0.0.1:{proxy.https_port}"
        async with map_page(site.browser, address, ignore_https_errors=True) as page:
            await page.open("7")
            await page.until("forbidden")
            await expect(page.page.locator("#notice-title")).to_contain_text("LIVE_ALLOWED_ORIGINS")


async def test_where_nothing_answers(site: Site) -> None:
    """Where the path leads to no WebSocket, the page says so, and does not try again."""

    async def mislead(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json={**await answer.json(), "path": "/elsewhere"})

    await enter(site.database, {"7": [ONE]})
    async with site.page(await site.serve()) as page:
        await page.page.route("**/config.json", mislead)
        await page.open("7")
        await page.until("error")
        says = "This server has no live positions at /elsewhere."
        await expect(page.page.locator("#notice-title")).to_have_text(says)


async def test_graphics_that_do_not_come_back(site: Site) -> None:
    """Without its graphics the page does not say that it is live, but why; the list goes on, and a reload helps.

    No name stays on the map where no marker is any more.
    """
    async with site.watching(ONE) as tab:
        page = tab.page
        assert await page.evaluate(_LOSE_FOR_A_MOMENT) == "connecting"
        await tab.until("live")
        await site.publish({ONE: 41.1}, ahead_s=AHEAD_S)
        await until_painted(tab, dark=False, markers=True)
        await eventually(lambda: is_named(tab), timeout_s=TIMEOUT_S, message="the name is on the map")
        await page.evaluate(_LOSE)
        await tab.until("no-map")
        assert not await is_named(tab)
        await expect(page.get_by_role("heading", name="This browser cannot draw the map.")).to_be_visible()
        await expect(page.locator("#status-text")).not_to_contain_text("Live")
        await site.publish({ONE: 41.2})
        await tab.until_devices({ONE: 41.2})
        await page.get_by_role("button", name="Reload").click()
        await tab.until("live")
        assert tab.complaints == []
