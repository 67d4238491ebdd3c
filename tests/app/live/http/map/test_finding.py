"""Finding devices and sharing what is shown, on the live map in a real Chromium."""

from __future__ import annotations

import contextlib
import html
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from aiohttp import web
from playwright.async_api import Page, expect

from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.app.live.browsing import TIMEOUT_S, enter
from tests.app.live.harness import now_ms, publish
from tests.app.live.http.map.test_map import AHEAD_S, ONE, OTHER, PHONE, TWO, Site, site
from tests.app.live.http.map.test_who import enter_riders, marked
from tests.support.waiting import eventually

__all__ = ("site",)

#: What is said stays for a few seconds only.
_HEAR = """() => {
  const note = document.querySelector("#share-note[role=status]");
  window.heard = [];
  new MutationObserver(() => window.heard.push(note.textContent)).observe(note, { childList: true });
}"""
#: Notes what the page writes as its address.
_FOLLOW_ADDRESS = """(() => {
  window.addresses = [];
  const write = history.replaceState.bind(history);
  history.replaceState = (...what) => { write(...what); window.addresses.push(location.href); };
})()"""


async def until_address(page: Page, expected: str) -> None:
    """Wait until this is the fragment of the address."""

    async def as_expected() -> bool:
        return bool(await page.evaluate("() => location.hash") == expected)

    await eventually(as_expected, timeout_s=TIMEOUT_S, message=f"{expected} is the fragment, after {page.url}")


async def test_devices_are_found(site: Site) -> None:
    """A filter acts on list and map, "Show all" on what it leaves; the order is chosen, and favourites come first."""
    await enter_riders(site.database)
    worker = await site.serve()
    async with site.page(worker, reduced_motion="reduce") as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until("live")
        # The speed of a device that is overdue counts no more.
        now = now_ms() + 1000 * AHEAD_S
        for device, seconds_ago, speed, lat in ((ONE, 30, 30, 41.1), (TWO, 40, 50, 41.2), (OTHER, 20, 40, 41.3)):
            await publish(site.redis, site.stream, device, now - 1000 * seconds_ago, speed=speed, lat=lat)
        await map_page.until_rows(TWO, ONE, OTHER)
        order = page.get_by_role("combobox", name="Sort by")
        orders = {"Name": (ONE, OTHER, TWO), "Last seen": (OTHER, ONE, TWO), "Speed": (TWO, OTHER, ONE)}
        for label, rows in orders.items():
            await order.select_option(label)
            await map_page.until_rows(*rows)
        await publish(site.redis, site.stream, ONE, now, speed=90, lat=41.1)
        await map_page.until_rows(ONE, TWO, OTHER)

        await eventually(lambda: marked(map_page), timeout_s=TIMEOUT_S, message="the red number is on the map")
        await page.get_by_role("searchbox", name="Filter devices").fill("nobody")
        # Chromium loses now and then that a canvas was cleared, and shows an older picture of it.
        await expect(page.locator("canvas.labels")).to_be_hidden()
        await page.get_by_role("searchbox", name="Filter devices").fill("jensen")
        await map_page.until_rows(TWO)
        await expect(page.locator("#count")).to_have_text("1 of 3")

        async def not_marked() -> bool:
            return not await marked(map_page)

        await eventually(not_marked, timeout_s=TIMEOUT_S, message="the red number is not on the map")
        await page.get_by_role("button", name="Show all").click()
        map_box = await page.locator("#map").bounding_box()
        assert map_box is not None
        await page.mouse.click(map_box["x"] + map_box["width"] / 2, map_box["y"] + map_box["height"] / 2)
        await expect(page.locator("#panel-id")).to_have_text("Bo Jensen")

        star = page.get_by_role("button", name="Favourite", exact=True)
        await star.focus()
        await page.keyboard.press("Enter")
        await expect(star).to_have_attribute("aria-pressed", "true")
        await page.get_by_role("searchbox", name="Filter devices").fill("")
        await map_page.until_rows(TWO, ONE, OTHER)
        await page.get_by_role("button", name="Close").click()
        await page.reload()
        await map_page.until_rows(TWO, ONE, OTHER)
        await expect(order).to_have_value("speed")
        await expect(page.get_by_role("option", name="7 Bo Jensen favourite")).to_be_visible()
        await page.get_by_role("button", name="Only favourites").click()
        await map_page.until_rows(TWO)
        await eventually(not_marked, timeout_s=TIMEOUT_S, message="others are not on the map")
        assert map_page.complaints == []


async def serve_a_ride(site: Site) -> tuple[WorkerProcess, int]:
    """Let one device ride for a minute until now and another stand; return when that began, in milliseconds."""
    # Before the worker starts: the past of devices that it does not know yet is empty.
    await enter(site.database, {"7": [ONE, TWO], "8": [OTHER]})
    worker = await site.serve()
    start = now_ms() // 1000 * 1000 - 60_000
    for second in range(60):
        await publish(site.redis, site.stream, ONE, start + 1000 * second, lat=41 + second / 1000)
    await publish(site.redis, site.stream, TWO, start, lat=41.1)
    await site.stored(61)
    return worker, start


async def copied(page: Page) -> str:
    """Copy the link by the button, and return it."""
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.evaluate(_HEAR)
    await page.get_by_role("button", name="Copy link").click()
    await page.wait_for_function("() => window.heard.includes('Link copied.')")
    return str(await page.evaluate("() => navigator.clipboard.readText()"))


async def test_a_link_opens_the_same(site: Site) -> None:
    """Selection, follow, filter, order and view are in the address, which opens the same elsewhere."""
    worker, _ = await serve_a_ride(site)
    async with site.page(worker, reduced_motion="reduce") as mine, site.page(worker, reduced_motion="reduce") as theirs:
        page, other = mine.page, theirs.page
        await mine.open("7&device=nobody&view=91,0,NaN&time=now&sort=<b>&follow=2&filter=&x=%E0%A4%A")
        await mine.until_devices({ONE: 41.059, TWO: 41.1})
        await expect(page.locator("#panel")).to_be_hidden()
        # What means nothing is left out. Not before: Chromium may drop a step while the page writes its address.
        await until_address(page, "#event=7&device=nobody")
        await mine.open("7")
        await until_address(page, "#event=7")
        await page.locator(f"li[data-device-id='{ONE}']").click()
        await page.get_by_role("button", name="Follow").click()
        await page.get_by_role("combobox", name="Sort by").select_option("Name")
        await page.locator("#filter").fill("35630704244")
        await until_address(page, f"#event=7&device={ONE}&follow=1&filter=35630704244&sort=name")
        await page.get_by_role("button", name="Zoom in").click()
        await page.wait_for_function("() => location.hash.includes('&view=41.0')")
        link = await copied(page)
        assert link == await page.evaluate("() => location.href")

        await other.add_init_script(_FOLLOW_ADDRESS)
        await other.goto(link)
        await theirs.until_devices({ONE: 41.059, TWO: 41.1})
        await expect(other.locator("#panel-id")).to_have_text(ONE)
        await expect(other.get_by_role("button", name="Following")).to_have_attribute("aria-pressed", "true")
        await expect(other.locator("#filter")).to_have_value("35630704244")
        await expect(other.locator("#order")).to_have_value("name")
        assert await other.evaluate("() => location.href") == link
        # Not even for a moment was it another one.
        assert set(await other.evaluate("() => window.addresses")) <= {link}

        await other.get_by_role("button", name="Copy link").click()
        dialog = other.get_by_role("dialog", name="Copy this link")
        await expect(dialog.get_by_role("textbox")).to_have_value(link)
        await other.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(other.locator("#panel")).to_be_visible()
        assert (mine.complaints, theirs.complaints) == ([], [])


#: Of each of some elements: whether nothing lies on its corners.
_ON_TOP = """(selectors) => selectors.map((selector) => {
    const element = document.querySelector(selector), { left, top, right, bottom } = element.getBoundingClientRect();
    const corners = [[left + 5, top + 5], [right - 5, top + 5], [left + 5, bottom - 5], [right - 5, bottom - 5]];
    return corners.every(([x, y]) => element.contains(document.elementFromPoint(x, y)));
})"""


async def test_a_link_goes_back_in_time(site: Site) -> None:
    """A link opens a moment of the past, standing still, until one goes back to live; "back" shows the event before.

    It does so on a small phone held sideways, too.
    """
    worker, start = await serve_a_ride(site)
    then = datetime.fromtimestamp(start / 1000 + 20, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    async with site.page(worker) as map_page:
        page = map_page.page
        await map_page.open(f"7&device={ONE}&time={then}")
        for _ in range(2):
            await map_page.until_devices({ONE: 41.02, TWO: 41.1})
            await expect(page.locator("#panel-id")).to_have_text(ONE)
            await expect(page.locator("#status-text")).to_have_text("Replay")
            await expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
            await until_address(page, f"#event=7&device={ONE}&time={then}")
            await page.reload()
        await page.get_by_role("button", name="Back to live").click()
        await map_page.until_devices({ONE: 41.059, TWO: 41.1})
        await until_address(page, f"#event=7&device={ONE}")
        await page.locator("#event-select").select_option("8")
        await expect(page.locator("#panel")).to_be_hidden()
        await until_address(page, "#event=8")
        await page.go_back()
        await map_page.until_devices({ONE: 41.059, TWO: 41.1})
        await expect(page.locator("#panel-id")).to_have_text(ONE)
        assert map_page.complaints == []
    small = PHONE | {"viewport": {"width": 640, "height": 320}}
    async with site.page(worker, **small) as phone:
        await phone.open(f"7&time={then}")
        # There is room for all that one replays with.
        for control in (phone.page.locator("#replay-slider"), phone.page.locator("#replay-live")):
            await expect(control).to_be_in_viewport(ratio=1)
        assert await phone.page.evaluate("() => document.documentElement.scrollWidth") == 640
        assert await phone.page.evaluate(_ON_TOP, ["#copy-link", "#legend", "#legend-max"]) == [True, True, True]
        assert phone.complaints == []


async def test_the_map_in_a_frame(site: Site) -> None:
    """A page of a named origin shows the map alone, with a link to all of it; another page shows nothing of it."""
    await enter(site.database, {"7": [ONE]})
    async with websites() as (named, other), await site.browser.new_context() as context:
        worker = await site.serve(LIVE_EMBED_ORIGINS=named)
        page, said = await context.new_page(), []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        await page.goto(f"{named}/?frame={worker.live_url}/?embed=1%23event=7")
        frame = page.frame_locator("iframe")
        await expect(frame.locator("body")).to_have_attribute("data-state", "live")
        await site.publish({ONE: 41.1})
        await expect(frame.locator("body")).to_have_attribute("data-device-count", "1")
        for hidden in ("banner", "listbox", "combobox", "button"):
            controls = frame.get_by_role(hidden)
            await expect(controls.and_(frame.locator(":not(#map *)"))).to_have_count(0)
        await expect(frame.get_by_text("Natural Earth")).to_be_visible()
        async with page.expect_popup() as opened:
            await frame.get_by_role("link", name="Open the whole map").click()
        whole = await opened.value
        assert whole.url == f"{worker.live_url}/#event=7"
        await expect(whole.locator(f"li[data-device-id='{ONE}']")).to_be_visible()
        screen = whole.get_by_role("button", name="Full screen")
        for pressed in ("true", "false"):
            await screen.click()
            await expect(screen).to_have_attribute("aria-pressed", pressed)
            assert await whole.evaluate("() => String(document.fullscreenElement !== null)") == pressed
        await page.goto(f"{named}/?frame={worker.live_url}/?embed=1%23event=nope")
        await expect(frame.locator("#notice")).to_contain_text("Open the whole map", timeout=TIMEOUT_S * 1000)
        await expect(frame.locator("#notice")).not_to_contain_text("above")
        await expect(frame.get_by_role("button", name="Try again")).to_be_visible()
        assert said == []
        await page.goto(f"{other}/?frame={worker.live_url}/?embed=1%23event=7")
        await eventually(lambda: said, timeout_s=TIMEOUT_S, message="the frame is refused")
        assert "frame-ancestors" in said[0]
        await expect(frame.locator("#map")).to_have_count(0)


@contextlib.asynccontextmanager
async def websites() -> AsyncIterator[tuple[str, str]]:
    """Serve a page that shows what it is asked for in a frame, from two origins; return these."""

    async def show(request: web.Request) -> web.Response:
        address = html.escape(request.query["frame"])
        body = f'<!doctype html><title>Club</title><link rel="icon" href="data:,"><iframe src="{address}"></iframe>'
        return web.Response(text=body, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        for _ in range(2):
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        one, two = (f"http://127.0.0.1:{port}" for _, port in runner.addresses)
        yield one, two
    finally:
        await runner.cleanup()
