"""The live map in a real Chromium, before whole workers with both sides, a real Redis and a real PostgreSQL."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from playwright.async_api import Browser, expect
from redis.asyncio import Redis

from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.app.live.browsing import TIMEOUT_S, MapPage, browser, enter, map_page
from tests.app.live.directus.stand_in import DirectusServer
from tests.app.live.harness import now_ms, publish
from tests.conftest import WorkerFactory
from tests.support.servers import chromium, debian
from tests.support.waiting import eventually

ONE, TWO, OTHER = "356307042440001", "356307042440002", "356307042449999"
_WRAPPED_OR_COVERED = """() => {
  document.querySelector("#panel-speed").textContent = "188 km/h";
  document.querySelector("#panel-age").textContent = "59 min 59 s ago";
  const follow = document.querySelector("#follow").getBoundingClientRect();
  return ["id", "speed", "age", "course", "position"].filter((name) => {
    const text = document.querySelector(`#panel-${name}`);
    const { right, bottom, height } = text.getBoundingClientRect();
    const wrapped = height > 1.9 * parseFloat(getComputedStyle(text).fontSize);
    return wrapped || (right > follow.left && bottom > follow.top);
  });
}"""
_VISIBLE_MIDDLE = """() => {
    const box = (selector) => document.querySelector(selector).getBoundingClientRect();
    return [innerWidth / 2, (box("#panel").bottom + box(".side").top) / 2];
}"""
#: A device that is so far ahead of the clocks is overdue, and grey, in more than four minutes.
AHEAD_S = 200
#: What the browser itself says of a server that is away, or starts.
_UNREACHED = ("console: WebSocket connection to ", "console: Failed to load resource")
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


@dataclass
class Site:
    """A stream and a database with workers between them, and a browser in front.

    Attributes:
        env: Variables of the workers.
    """

    redis: Redis
    stream: str
    database: asyncpg.Connection[Any]
    env: dict[str, str]
    start: Callable[[dict[str, str]], WorkerProcess]
    browser: Browser

    async def serve(self, **variables: str) -> WorkerProcess:
        """Start a worker and wait until it is ready."""
        worker = self.start(self.env | variables)
        await worker.wait_ready()
        return worker

    async def publish(self, latitudes: Mapping[str, float], *, ahead_s: int = 0) -> None:
        """Append a position of this moment for each device, by a clock that may be ahead."""
        for device, latitude in latitudes.items():
            await publish(self.redis, self.stream, device, now_ms() + 1000 * ahead_s, lat=latitude)

    async def stored(self, rows: int) -> None:
        async def reached() -> bool:
            return bool(await self.database.fetchval("SELECT count(*) FROM positions") == rows)

        await eventually(reached, timeout_s=TIMEOUT_S, message=f"{rows} positions are stored")

    async def leave_behind(self, latitudes: dict[str, float]) -> None:
        """Let a worker store positions and end; of what it read only the database knows."""
        worker = await self.serve()
        await self.publish(latitudes)
        await self.stored(len(latitudes))
        await worker.stop(timeout_s=TIMEOUT_S)
        await self.redis.delete(self.stream)

    def page(self, worker: WorkerProcess, **options: Any) -> contextlib.AbstractAsyncContextManager[MapPage]:
        return map_page(self.browser, worker.live_url, **options)

    @contextlib.asynccontextmanager
    async def watching(self, *device_ids: str, **options: Any) -> AsyncIterator[MapPage]:
        """Start a worker with an event of these devices, and show that on a page until it is live."""
        await enter(self.database, {"7": device_ids})
        async with self.page(await self.serve(), **options) as page:
            await page.open("7")
            await page.until("live")
            yield page


@pytest.fixture
async def site(
    redis: Redis, redis_url: str, stream: str, plain_postgres_url: str, worker_process: WorkerFactory
) -> AsyncIterator[Site]:
    env = {
        "REDIS_URL": redis_url,
        "REDIS_TELEMETRY_STREAM": stream,
        "POSTGRES_URL": plain_postgres_url,
        "LIVE_AUTH": "none",
        "LEASE_TTL_MS": "1500",
    }
    database = await asyncpg.connect(plain_postgres_url)
    try:
        async with browser() as running:
            yield Site(redis, stream, database, env, worker_process, running)
    finally:
        await database.close()


async def test_devices_appear_and_move(site: Site) -> None:
    """A device appears with its first position and moves with each; devices of other events are not shown."""
    await enter(site.database, {"7": [ONE, TWO], "8": [TWO, OTHER]})
    worker = await site.serve()
    async with site.page(worker) as seven, site.page(worker) as eight:
        for page, event_id in ((seven, "7"), (eight, "8")):
            await page.open(event_id)
            await page.until("live")
            assert await page.devices() == {}
        await site.publish({OTHER: 41.5, ONE: 41.1, TWO: 41.2})
        await seven.until_devices({ONE: 41.1, TWO: 41.2})
        await eight.until_devices({TWO: 41.2, OTHER: 41.5})
        await expect(seven.page.locator("body")).to_have_attribute("data-device-count", "2")
        await seven.until_rows(ONE, TWO)
        await site.publish({OTHER: 41.6, TWO: 41.3})
        await seven.until_devices({ONE: 41.1, TWO: 41.3})
        await eight.until_devices({TWO: 41.3, OTHER: 41.6})
        assert (seven.complaints, eight.complaints) == ([], [])


async def test_a_clock_that_is_set_right_is_followed(site: Site) -> None:
    """A device goes where its last frame says, though one before was of a later time; and back when that was wrong."""
    await enter(site.database, {"7": [ONE]})
    worker = await site.serve(LIVE_DEVICE_EVENT_REFRESH_MS="1000")
    async with site.page(worker) as page:
        await page.open("7")
        await page.until("live")
        await site.publish({ONE: 41.1}, ahead_s=AHEAD_S)
        await page.until_devices({ONE: 41.1})
        await site.publish({ONE: 41.2}, ahead_s=23 * 3600)
        await site.publish({ONE: 41.3})
        await page.until_devices({ONE: 41.3})
        await site.stored(3)
        await site.database.execute("UPDATE positions SET faulty = true WHERE latitude = 41.3")
        await page.until_devices({ONE: 41.1})
        assert page.complaints == []


async def test_snapshot_is_shown_before_anything_moves(site: Site) -> None:
    """Whoever comes later sees where everybody is, from the database of a worker that has read nothing itself."""
    await enter(site.database, {"7": [ONE, TWO]})
    await site.leave_behind({ONE: 41.1, TWO: 41.2})
    async with site.page(await site.serve()) as page:
        await page.open("7")
        await page.until_devices({ONE: 41.1, TWO: 41.2})
        await page.until("live")
        assert page.complaints == []


async def test_list_by_keyboard(site: Site) -> None:
    """Without a mouse one gets to the list, chooses a device, closes its panel, and filters."""
    async with site.watching(ONE, TWO, OTHER) as map_page:
        page, keyboard = map_page.page, map_page.page.keyboard
        await site.publish({ONE: 41.1, TWO: 41.2, OTHER: 41.3})
        await map_page.until_rows(ONE, TWO, OTHER)
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await expect(page.locator("#devices")).to_be_focused()
        for key in ("ArrowDown", "ArrowDown", "Enter"):
            await keyboard.press(key)
        await expect(page.locator("#panel-id")).to_have_text(TWO)
        await expect(page.locator("#devices [aria-selected=true]")).to_have_attribute("data-device-id", TWO)
        await keyboard.press("Escape")
        await expect(page.locator("#panel")).to_be_hidden()
        await keyboard.press("Shift+Tab")
        await expect(page.locator("#filter")).to_be_focused()
        await keyboard.type("9999")
        await map_page.until_rows(OTHER)
        await keyboard.press("ArrowDown")
        await keyboard.press("ArrowDown")
        await keyboard.press("Enter")
        await expect(page.locator("#panel-id")).to_have_text(OTHER)


async def test_page_outlives_its_worker(site: Site) -> None:
    """When the worker dies the page says so, finds the next one by itself, and has missed nothing."""
    await enter(site.database, {"7": [ONE, TWO]})
    worker = await site.serve()
    async with site.page(worker) as page:
        await page.open("7")
        await page.until("live")
        await site.publish({ONE: 41.1})
        await page.until_devices({ONE: 41.1})
        await page.page.evaluate("() => { window.marker = 'not reloaded'; }")
        worker.kill()
        await page.until("reconnecting")
        assert await page.devices() == {ONE: 41.1}
        await site.publish({ONE: 41.2, TWO: 41.3})
        await site.serve(LIVE_PORT=worker.env["LIVE_PORT"], METRICS_PORT=worker.env["METRICS_PORT"])
        await page.until("live")
        await page.until_devices({ONE: 41.2, TWO: 41.3})
        await site.publish({TWO: 41.4})
        await page.until_devices({ONE: 41.2, TWO: 41.4})
        assert await page.page.evaluate("() => window.marker") == "not reloaded"
        assert [complaint for complaint in page.complaints if not complaint.startswith(_UNREACHED)] == []


async def test_forbidden_event_says_so(site: Site, directus: DirectusServer) -> None:
    """Directus decides what is shown: of one event the map, of another that one may not see it, and no device."""
    allowed, forbidden = await directus.add_event("Allowed"), await directus.add_event("Forbidden")
    user = await directus.add_user()
    await directus.allow(user, [allowed])
    await enter(site.database, {allowed: [ONE], forbidden: [TWO]})
    worker = await site.serve(LIVE_AUTH="directus", DIRECTUS_BASE_URL=directus.url)
    name, _, value = (await directus.login(user)).partition("=")
    async with site.page(worker) as page:
        await page.page.context.add_cookies([{"name": name, "value": value, "url": page.address, "httpOnly": True}])
        await page.open(allowed)
        await page.until("live")
        await site.publish({TWO: 41.2, ONE: 41.1})
        await page.until_devices({ONE: 41.1})
        await page.open(forbidden)
        await page.until("forbidden")
        await expect(page.page.locator("#notice-title")).to_have_text("You may not see this event.")
        assert await page.devices() == {}
        assert page.complaints == []


async def test_signed_out_says_so(site: Site, directus: DirectusServer) -> None:
    """Without a session the page leads to where one signs in, and goes on by itself when that was done elsewhere."""
    event_id, user = await directus.add_event("Race"), await directus.add_user()
    await directus.allow(user, [event_id])
    await enter(site.database, {event_id: [ONE]})
    sign_in = "https://www.example.org/login"
    worker = await site.serve(LIVE_AUTH="directus", DIRECTUS_BASE_URL=directus.url, LIVE_SIGN_IN_URL=sign_in)
    async with site.page(worker) as page:
        await page.open(event_id)
        await page.until("signed-out")
        await expect(page.page.locator("#notice-title")).to_contain_text("Please sign in")
        await expect(page.page.get_by_role("link", name="Sign in")).to_have_attribute("href", sign_in)
        name, _, value = (await directus.login(user)).partition("=")
        await page.page.context.add_cookies([{"name": name, "value": value, "url": page.address, "httpOnly": True}])
        await page.until("live")
        await expect(page.page.get_by_role("link", name="Sign in")).to_be_hidden()


async def test_unknown_event_says_so(site: Site) -> None:
    """An event that does not exist is told from one without devices."""
    await enter(site.database, {"7": []})
    async with site.page(await site.serve()) as page:
        await page.open("8")
        await page.until("not-found")
        await expect(page.page.locator("#notice-title")).to_have_text("There is no such event.")
        await page.open("7")
        await page.until("live")
        assert page.complaints == []


@pytest.mark.parametrize("width", [320, 390])
async def test_phone(site: Site, width: int) -> None:
    """On a phone nothing is scrolled sideways, wrapped or covered, and the list is there for the thumb."""
    await enter(site.database, {"7": [ONE, TWO]})
    worker = await site.serve()
    async with site.page(worker, **PHONE | {"viewport": {"width": width, "height": 640}}) as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until("live")
        await site.publish({ONE: 41.1, TWO: 41.2})
        await map_page.until_rows(ONE, TWO)
        row = page.locator(f"li[data-device-id='{TWO}']")
        await expect(row).to_be_in_viewport(ratio=1)
        await row.tap()
        await expect(page.locator("#panel-id")).to_have_text(TWO)
        await expect(page.locator("#panel")).to_be_in_viewport(ratio=1)
        widths = await page.evaluate("() => [document.documentElement.scrollWidth, visualViewport.width]")
        assert widths == [width, width]
        assert await page.evaluate(_WRAPPED_OR_COVERED) == []
        await expect(page.locator("#legend")).to_be_in_viewport(ratio=1)
        await page.locator("#sheet").tap()
        await expect(row).not_to_be_in_viewport()
        await page.locator("#sheet").tap()
        await expect(row).to_be_in_viewport()
        assert map_page.complaints == []


async def test_phone_shows_the_chosen_device_where_nothing_covers_it(site: Site) -> None:
    """The chosen device comes to the middle of what panel and list leave of the map: a tap there finds it."""
    await enter(site.database, {"7": [ONE, TWO]})
    worker = await site.serve()
    async with site.page(worker, **PHONE, reduced_motion="reduce") as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until("live")
        await site.publish({ONE: 41.1, TWO: 41.2})
        await map_page.until_rows(ONE, TWO)
        await page.locator(f"li[data-device-id='{TWO}']").tap()
        await expect(page.locator("#panel-id")).to_have_text(TWO)
        middle: list[float] = await page.evaluate(_VISIBLE_MIDDLE)
        await page.locator("#panel-close").tap()

        async def found() -> bool:
            await page.touchscreen.tap(*middle)
            return await page.locator("#panel").is_visible()

        await eventually(found, timeout_s=TIMEOUT_S, message="the device is where nothing covers it")
        await expect(page.locator("#panel-id")).to_have_text(TWO)
        assert map_page.complaints == []


async def test_a_window_that_is_made_smaller(site: Site) -> None:
    """Devices at the edges stay in sight unless somebody has moved the map."""
    await enter(site.database, {"7": [ONE, TWO]})
    worker = await site.serve()
    for device, lon in ((ONE, 20.0), (TWO, 22.0)):
        await publish(site.redis, site.stream, device, now_ms(), lat=41.0, lon=lon)
    await site.stored(2)
    async with site.page(worker, viewport={"width": 1280, "height": 720}) as map_page:
        page = map_page.page
        await map_page.open("7")
        await map_page.until_rows(ONE, TWO)
        names = page.locator("canvas.labels")
        await expect(names).to_be_visible()
        await page.set_viewport_size({"width": 500, "height": 720})
        # So it is drawn for this width.
        await expect(names).to_have_js_property("width", 500)
        await expect(names).to_be_visible()
        # Somebody looks at where there is nothing.
        await map_page.open("7&view=41,21,14")
        await expect(names).to_be_hidden()
        await page.set_viewport_size({"width": 520, "height": 720})
        await expect(names).to_have_js_property("width", 520)
        await expect(names).to_be_hidden()
        assert map_page.complaints == []


async def test_map_is_painted_dark_or_light(site: Site) -> None:
    """Land, water and markers are painted in the colours that the system wishes for, also when it changes its mind."""
    await enter(site.database, {"7": [ONE, TWO]})
    worker = await site.serve()
    async with site.page(worker, color_scheme="dark") as page:
        await page.open("7")
        await page.until("live")
        await until_painted(page, dark=True)
        await site.publish({ONE: 41.1, TWO: 41.2}, ahead_s=AHEAD_S)
        await until_painted(page, dark=True, markers=True)
        await page.page.emulate_media(color_scheme="light")
        await until_painted(page, dark=False, markers=True)
        await page.page.reload()
        await until_painted(page, dark=False, markers=True)
        assert page.complaints == []


async def until_painted(page: MapPage, *, dark: bool, markers: bool = False) -> None:
    """Wait until the map is as dark or light, and has vivid colours or none, as expected."""

    async def as_expected() -> bool:
        colours = await page.map_colours()
        pixels = sum(count for *_, count in colours)
        brightness = sum(max(rgb) * count for *rgb, count in colours) / pixels
        vivid = sum(count for *rgb, count in colours if max(rgb) - min(rgb) > 110)
        is_map = len(colours) > 20
        return is_map and (brightness < 80 if dark else brightness > 200) and (vivid > 20 if markers else vivid == 0)

    await eventually(as_expected, timeout_s=TIMEOUT_S, message=f"the map is painted, {dark=}, {markers=}")


def test_no_chromium_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that has no Chromium and cannot download one is told so, and how to mend it."""

    def no_mirror() -> str:
        raise debian.PackagesUnavailableError("apt knows no mirror")

    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(chromium, "_CACHE", tmp_path)
    monkeypatch.setattr(debian, "mirror", no_mirror)
    with pytest.raises(debian.PackagesUnavailableError, match=r"(?s)Chromium.*apt knows no mirror.*Install a chromium"):
        chromium.chromium()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
