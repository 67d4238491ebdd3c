"""The built map, and a WebSocket for more devices than a worker could feed beside a browser."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from telemetry_app.live.wire.protocol import EntryFields, Position, PositionsFrame, Subscribed, encode
from telemetry_app.tools.simulation.event import rider

EVENT: Final = "crowd"
#: Rounds of a second, each with its share of the devices: trackers are not synchronised.
ROUNDS: Final = 10
_STATIC: Final = Path(str(files("telemetry_app.live.http"))) / "static"
_TOPIC: Final = f"event:{EVENT}"
_CENTRE: Final = (41.9981, 21.4254)
_SPACING_DEGREES: Final = 0.002
_CIRCLE_DEGREES: Final = 0.0008
_CIRCLE_S: Final = 60.0


class Crowd:
    """Devices on a grid, each of which drives in a circle.

    Args:
        devices: How many.

    Attributes:
        seconds: Of which everybody's position was sent to the one who is subscribed.
        unhurried: While it is clear, seconds are sent as fast as they are taken, not one a second.
    """

    def __init__(self, devices: int) -> None:
        self._ids = [f"{356307042440000 + number}" for number in range(devices)]
        self._columns = math.isqrt(devices - 1) + 1
        self.seconds = 0
        self.unhurried = asyncio.Event()
        self.unhurried.set()

    def has_sent(self, seconds: int) -> bool:
        """Tell whether so many seconds were sent."""
        return self.seconds >= seconds

    def position(self, number: int, ts_ms: int) -> Position:
        """Return where a device is at a time."""
        row, column = divmod(number, self._columns)
        angle = math.tau * (ts_ms / 1000 / _CIRCLE_S + number / len(self._ids))
        lat = _CENTRE[0] + _SPACING_DEGREES * (row - self._columns / 2) + _CIRCLE_DEGREES * math.sin(angle)
        lon = _CENTRE[1] + _SPACING_DEGREES * (column - self._columns / 2) + _CIRCLE_DEGREES * math.cos(angle)
        speed, course = float(20 + number % 50), float(math.degrees(-angle) % 360 // 1)
        return Position(self._ids[number], round(lat, 7), round(lon, 7), ts_ms, speed, course)

    def snapshot(self, now_ms: int) -> bytes:
        """Return the answer to a subscribe, with everybody's entry."""
        everybody = [self.position(number, now_ms) for number in range(len(self._ids))]
        entries = {device_id: _entry(number) for number, device_id in enumerate(self._ids, start=1)}
        return encode(Subscribed(_TOPIC, everybody, "0", batch=True, entries=entries))

    def rounds(self, second_ms: int) -> Iterator[bytes]:
        """Yield the frames of a second, which have a position of everybody."""
        for part in range(ROUNDS):
            ts_ms = second_ms + 1000 * part // ROUNDS
            positions = [self.position(number, ts_ms) for number in range(part, len(self._ids), ROUNDS)]
            yield encode(PositionsFrame(_TOPIC, f"{ts_ms}", positions))

    async def feed(self, socket: web.WebSocketResponse) -> None:
        """Send the snapshot, and a position of everybody in each second."""
        now_ms = round(time.time() * 1000)
        await socket.send_str(self.snapshot(now_ms).decode())
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            now_ms += 1000
            for frame in self.rounds(now_ms):
                due += 1 / ROUNDS
                # Also when nothing is due: writing to somebody who takes everything would let nobody else have a turn.
                await asyncio.sleep(due - loop.time() if self.unhurried.is_set() else 0)
                await socket.send_str(frame.decode())
            self.seconds += 1


def _entry(number: int) -> EntryFields:
    name, group, color = rider(number)
    return {"number": number, "name": name, "class": group, "color": color}


async def _serve_socket(request: web.Request) -> web.WebSocketResponse:
    crowd: Crowd = request.app[_CROWD]
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    feeding: asyncio.Task[None] | None = None
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT and msgspec.json.decode(message.data)["type"] == "subscribe":
                feeding = asyncio.create_task(crowd.feed(socket))
    finally:
        if feeding is not None:
            feeding.cancel()
            await asyncio.wait({feeding})
    return socket


async def _serve_place(request: web.Request) -> web.FileResponse:
    place = request.app[_PLACE]
    if place is None:
        raise web.HTTPNotFound
    return web.FileResponse(place)


_CROWD: Final = web.AppKey("crowd", Crowd)
_PLACE: Final = web.AppKey[Path | None]("place")


async def _serve_json(request: web.Request) -> web.Response:
    answers: dict[str, Any] = {
        "/config.json": {
            "path": "/live",
            "events": [{"id": EVENT, "name": "Crowd"}],
            "auth": "none",
            "basemap": request.app[_PLACE] and "place",
            "now": round(time.time() * 1000),
        },
        "/live/history": {"devices": [], "to": 0},
        "/live/course": None,
    }
    return web.json_response(answers[request.path])


async def _serve_file(request: web.Request) -> web.FileResponse:
    return web.FileResponse(_STATIC / request.match_info.get("name", "index.html"))


@contextlib.asynccontextmanager
async def serving(crowd: Crowd, place: Path | None = None) -> AsyncIterator[str]:
    """Serve the map with a crowd, and with a base map where that is given; yield the address of the page."""
    app = web.Application()
    app[_CROWD], app[_PLACE] = crowd, place
    app.router.add_get("/live", _serve_socket)
    for path in ("/config.json", "/live/history", "/live/course"):
        app.router.add_get(path, _serve_json)
    app.router.add_get("/live/basemap/place.pmtiles", _serve_place)
    app.router.add_get("/", _serve_file)
    app.router.add_get("/{name}", _serve_file)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
