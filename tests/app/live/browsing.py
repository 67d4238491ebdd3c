"""The live map in a real browser, with the events and devices that it shows."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import asyncpg
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from tests.support.servers.chromium import ARGS, chromium
from tests.support.waiting import eventually

#: Starting a browser, finding a worker again after a few attempts: on a busy machine this takes its time.
TIMEOUT_S = 60
expect.set_options(timeout=1000 * TIMEOUT_S)

_TABLES = """
CREATE TABLE events (id text PRIMARY KEY, name text NOT NULL);
CREATE TABLE entries (id integer PRIMARY KEY, event_id text NOT NULL REFERENCES events);
CREATE TABLE entry_devices (
    id integer PRIMARY KEY, entry_id integer NOT NULL REFERENCES entries, device_id text NOT NULL
);
"""
# A page's own handlers see violations of its policy; the console is where this class listens.
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} forbids ${event.blockedURI}`));
"""
_DEVICE_IDS = "(rows) => rows.map((row) => row.dataset.deviceId)"
_ONLY_THE_MAP = "header, main > :not(#map) { visibility: hidden }"
# Neither an image with an address nor `eval`: the page's policy allows none of them.
_ON_PICTURE = """async (picture) => {{
  const bytes = Uint8Array.from(atob(picture), (character) => character.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], {{ type: "image/png" }}));
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  return ({measure})(context.getImageData(0, 0, image.width, image.height));
}}"""
_COLOURS = """({ data }) => {
  const counts = {};
  for (let at = 0; at < data.length; at += 4) {
    const colour = `${data[at]},${data[at + 1]},${data[at + 2]}`;
    counts[colour] = (counts[colour] ?? 0) + 1;
  }
  return Object.entries(counts).map(([colour, pixels]) => [...colour.split(",").map(Number), pixels]);
}"""


async def enter(database: asyncpg.Connection[Any], events: Mapping[str, Collection[str]]) -> None:
    """Make the business tables, with events by id and the devices that take part in each."""
    await database.execute(_TABLES)
    for number, (event_id, device_ids) in enumerate(events.items()):
        await database.execute("INSERT INTO events VALUES ($1, $2)", event_id, f"Race {event_id}")
        await database.execute("INSERT INTO entries VALUES ($1, $2)", number, event_id)
        await database.executemany(
            "INSERT INTO entry_devices SELECT count(*), $1, $2 FROM entry_devices",
            [(number, device_id) for device_id in device_ids],
        )


class MapPage:
    """One tab with the live map.

    Attributes:
        page: The tab.
        address: Of the live port.
        complaints: What should not have happened: errors in the console, violations of the page's policy, requests to
            another server.
        warnings: What the console says besides, as when the browser has lost what it draws with.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.warnings: list[str] = []
        self.address = address
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("request", self._check)

    async def open(self, event_id: str) -> None:
        """Go to an event; a change of event in an open page is no reload."""
        await self.page.goto(f"{self.address}/#event={event_id}")

    async def until(self, state: str) -> None:
        """Wait until the page says that this is the state of its connection."""
        await expect(self.page.locator("body")).to_have_attribute("data-state", state)

    async def devices(self) -> dict[str, float]:
        """Return the latitude of each device shown."""
        shown = await self.page.evaluate("() => window.telemetryMap.devices()")
        return {device["deviceId"]: device["lat"] for device in shown}

    async def until_devices(self, expected: Mapping[str, float]) -> None:
        """Wait until exactly these devices are shown, there."""
        shown: list[object] = []

        async def as_expected() -> bool:
            shown[:] = [await self.devices()]
            return shown == [expected]

        try:
            await eventually(as_expected, timeout_s=TIMEOUT_S, message=f"{expected} are shown")
        except AssertionError as error:
            error.add_note(f"shown: {shown}")
            raise

    async def trail(self, device_id: str) -> list[float]:
        """Return the latitude of each point of a device's trail, oldest first."""
        points = await self.page.evaluate("(deviceId) => window.telemetryMap.trail(deviceId)", device_id)
        return [round(point["lat"], 6) for point in points]

    async def rows(self) -> list[str]:
        """Return the devices of the list, from top to bottom."""
        rows: list[str] = await self.page.locator("#devices li").evaluate_all(_DEVICE_IDS)
        return rows

    async def until_rows(self, *expected: str) -> None:
        """Wait until the list has these devices, from top to bottom: a row moves when another one comes above it."""

        async def as_expected() -> bool:
            return await self.rows() == list(expected)

        await eventually(as_expected, timeout_s=TIMEOUT_S, message=f"the list has {expected}")

    async def map_colours(self) -> list[tuple[int, int, int, int]]:
        """Return red, green, blue and number of pixels of each colour on the map itself, without what lies on it."""
        colours: list[tuple[int, int, int, int]] = await self.on_picture(_COLOURS)
        return colours

    async def on_picture(self, measure: str) -> Any:
        """Return what a function of JavaScript says of the pixels of the map itself, which it gets as ImageData."""
        picture = base64.b64encode(await self.page.locator("#map").screenshot(style=_ONLY_THE_MAP)).decode()
        return await self.page.evaluate(_ON_PICTURE.format(measure=measure), picture)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")
        elif message.type == "warning":
            self.warnings.append(message.text)

    def _check(self, request: Request) -> None:
        if not request.url.startswith((f"{self.address}/", "blob:", "data:")):
            self.complaints.append(f"request: {request.url}")


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Run a browser that knows no other host than this one."""
    program = chromium()
    isolated = [*ARGS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE ::1"]
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=program.executable,
            args=isolated,
            env={**os.environ, **program.env},
            timeout=1000 * TIMEOUT_S,
        )
        async with running:
            yield running


@contextlib.asynccontextmanager
async def map_page(browser: Browser, address: str, **options: Any) -> AsyncIterator[MapPage]:
    """Open an empty tab with a profile of its own for the map of the live port at `address`.

    An assertion that fails meanwhile is told with what the page's console said: most wait for what never comes then.
    """
    async with await browser.new_context(**options) as context:
        context.set_default_timeout(1000 * TIMEOUT_S)
        await context.add_init_script(_REPORT_VIOLATIONS)
        tab = MapPage(await context.new_page(), address)
        try:
            yield tab
        except AssertionError as error:
            error.add_note(f"complaints of the page: {tab.complaints}, warnings: {tab.warnings}")
            raise
