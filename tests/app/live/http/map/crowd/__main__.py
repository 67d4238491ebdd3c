"""Measure the live map with many devices, by hand: `python -m tests.app.live.http.map.crowd --help`."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from functools import partial
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from playwright.async_api import Browser, Page
from rich.console import Console

from telemetry_app.tools.place import write_place
from tests.app.live.browsing import browser
from tests.app.live.http.map.crowd.devtools import devtools
from tests.app.live.http.map.crowd.first import Load, load_once
from tests.app.live.http.map.crowd.measure import TRACED, WATCH, WITHOUT_DRAWING, Heaps, resident_bytes, tasks_in
from tests.app.live.http.map.crowd.server import EVENT, Crowd, serving
from tests.support.waiting import eventually

#: From this length on browsers call a task long.
LONG_MS = 50
#: An input is answered at once when its picture is there in this time.
PROMPT_MS = 200
SAMPLES = 12
STALLED_S = 3600
#: As many as a race has whose spectators wait by the track.
DEVICES_OF_A_RACE = 40
MB = 1_000_000
say = Console(highlight=False, soft_wrap=True).print


async def new_page(running: Browser, *, drawing: bool) -> Page:
    page = await running.new_page(viewport={"width": 1280, "height": 800})
    page.on("pageerror", lambda error: say(f"exception: {error}"))
    await page.add_init_script(WATCH if drawing else WATCH + WITHOUT_DRAWING)
    return page


async def open_map(page: Page, address: str, devices: int) -> None:
    await page.goto(f"{address}#event={EVENT}")
    await page.locator(f"body[data-state=live][data-device-count='{devices}']").wait_for(timeout=120_000)


async def use(page: Page, seconds: float) -> None:
    """Do what people do: pan, zoom, hover, choose, filter and scroll."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        await page.mouse.move(700, 400)
        await page.mouse.down()
        for step in range(20):
            await page.mouse.move(700 + 8 * step, 400 + 4 * step)
        await page.mouse.up()
        await page.mouse.wheel(0, -200)
        await asyncio.sleep(0.3)
        await page.mouse.wheel(0, 200)
        await page.mouse.click(760, 420)
        await page.locator("#filter").press_sequentially("ana")
        await page.mouse.move(150, 500)
        await page.mouse.wheel(0, 3000)
        await page.locator("#filter").fill("")
        await page.keyboard.press("Escape")
        await asyncio.sleep(0.3)


async def measure_time(running: Browser, address: str, options: argparse.Namespace) -> None:
    page = await new_page(running, drawing=options.drawing)
    await running.start_tracing(categories=TRACED)
    await open_map(page, address, options.devices)
    await use(page, options.seconds)
    tasks = tasks_in(await running.stop_tracing(), LONG_MS)
    counters: dict[str, int] = await page.evaluate("() => window.telemetryMap.counters()")
    say(f"{options.devices} devices, {counters['received']} positions, {counters['pictures']} pictures")
    say(f"{len(tasks)} tasks took {LONG_MS} ms or more of processor time")
    for task in tasks[:10]:
        calls = ", ".join(f"{call.script} {call.function or '(unnamed)'} {call.ms:.0f} ms" for call in task.calls)
        say(f"  {task.ms:.0f} ms: {calls or 'no script'}")
    seen: dict[str, Any] = await page.evaluate("() => window.seen")
    longest = max((ms for _, ms in seen["longTasks"]), default=0)
    say(f"by the clock, waits for the processor included: {len(seen['longTasks'])} tasks, {longest:.0f} ms at most")
    late = sum(ms > PROMPT_MS for *_, ms in seen["inputs"])
    busy = max((ms for _, _, ms, _ in seen["inputs"]), default=0)
    say(f"inputs by the clock: {late} without a picture within {PROMPT_MS} ms, the longest handler took {busy:.0f} ms")
    await page.close()


async def measure_memory(running: Browser, address: str, crowd: Crowd, options: argparse.Namespace) -> None:
    page = await new_page(running, drawing=options.drawing)
    heaps = Heaps(page)
    await heaps.attach()
    await open_map(page, address, options.devices)
    crowd.unhurried.clear()
    samples: list[tuple[float, int, int]] = []
    # Warm first: compiled code and caches grow for a while.
    for sample in range(SAMPLES + 1):
        target = crowd.seconds + round(60 * options.minutes / SAMPLES)
        await eventually(partial(crowd.has_sent, target), timeout_s=STALLED_S)
        used, resident = await heaps.used_bytes(), resident_bytes()
        say(f"after {crowd.seconds:5} s of frames: {used / MB:.1f} MB used, {resident / MB:.0f} MB resident")
        if sample:
            samples.append((crowd.seconds / 3600, used, resident))
    hours, used_by, resident_by = zip(*samples, strict=True)
    for name, values in (("used", used_by), ("resident", resident_by)):
        say(f"{name}: {linear_regression(hours, values).slope / MB:+.1f} MB an hour")
    await page.close()


async def measure_first(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "place.pmtiles"
        write_place(place)
        for kind, basemap in (("without a base map", None), ("with a base map", place)):
            crowd = Crowd(DEVICES_OF_A_RACE)
            async with serving(crowd, basemap) as address, devtools("--window-size=1280,800") as tools:
                loads = [await load_once(tools, f"{address}#event={EVENT}") for _ in range(options.loads)]
            say(f"{kind}, {len(loads)} loads by a browser that knows nothing of the page:")
            show_loads(loads)


def show_loads(loads: list[Load]) -> None:
    for mark in ("shell", "dot", "live"):
        ms = [load.marks[mark] for load in loads]
        say(f"  {mark}: {min(ms):.0f} ms at least, {median(ms):.0f} ms in the middle, {max(ms):.0f} ms at most")
    quickest = min(loads, key=lambda load: load.marks["dot"])
    whole = sum(resource.bytes for resource in quickest.resources)
    say(f"  {quickest.bytes_until_dot:,} bytes had come before the first dot, {whole:,} in all; the quickest load:")
    for name, start_ms, end_ms, size in quickest.resources:
        say(f"  {start_ms:6.0f} to {end_ms:6.0f} ms {size:8,} bytes  {name}")


async def main(options: argparse.Namespace) -> None:
    for part in options.parts:
        if part == "first":
            await measure_first(options)
            continue
        crowd = Crowd(options.devices)
        async with serving(crowd) as address, browser() as running:
            if part == "time":
                await measure_time(running, address, options)
            else:
                await measure_memory(running, address, crowd, options)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("parts", nargs="*", choices=["time", "memory", "first"], default=["time", "memory"])
parser.add_argument("--devices", type=int, default=20_000, help="each reports once a second")
parser.add_argument("--seconds", type=float, default=30, help="of panning, zooming, choosing and filtering")
parser.add_argument("--minutes", type=float, default=60, help="of frames, sent as fast as the page takes them")
parser.add_argument("--loads", type=int, default=5, help="of the page on a slow line, until its first dot")
parser.add_argument("--drawing", action="store_true", help="draw, too; without a graphics card the processor does it")
asyncio.run(main(parser.parse_args()))
