"""Past positions by plain HTTP, under the rights of a subscription."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from telemetry_app.live.http.events.reading import EventReading, json_response
from telemetry_app.live.http.refusals import RETRY_AFTER_S, SECURITY_HEADERS, Refusal
from telemetry_app.live.ports import PastUnavailableError
from telemetry_app.live.shared import Shared
from telemetry_app.live.wire.past import encode, parse_event, parse_window

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from telemetry_app.live.http.door import Door
    from telemetry_app.live.ports import DeviceEvents, PastReader
    from telemetry_app.live.side import LiveSide
    from telemetry_app.live.wire.past import AskedEvent, Window

PATH: Final = "/live/history"
EXTENT_PATH: Final = "/live/history/extent"
#: How long a browser may use an answer without asking again. Trackers upload late and operators mark positions, so that
#: even the past changes.
_MAX_AGE_S: Final = 300
#: A window that ended longer ago is past: what was on its way then is stored.
_PAST_AFTER_S: Final = 60
#: How often it is looked whether the client is still there, in seconds.
_LOOK_S: Final = 0.1
_UNREAD: Final = Refusal(
    503, "unavailable", "Past positions cannot be read now. Try again.", "the database could not be read", RETRY_AFTER_S
)


class HistoryRequests:
    """Answers `GET /live/history` and `GET /live/history/extent`.

    Args:
        live: Whose rights and observer.
        door: Refuses requests.
        past: Reads the database.
        device_events: Knows the devices of an event.
    """

    def __init__(self, live: LiveSide, door: Door, past: PastReader, device_events: DeviceEvents) -> None:
        self._live = live
        self._door = door
        self._reading = EventReading(live, door)
        self._past = past
        self._device_events = device_events
        # A crowd that opens the page asks for the same.
        self._shared = Shared[bytes]()

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Send the positions of a window, or refuse: foreign origin, no window, no session, no right, in this order."""
        return await self._reading.answer(
            request, parse_window, lambda window, _: self._read(request, self._send(request, window))
        )

    async def show_extent(self, request: web.Request) -> web.StreamResponse:
        """Send when an event began and when its last position was taken, or refuse in the same order."""
        return await self._reading.answer(
            request, parse_event, lambda asked, _: self._read(request, self._send_extent(asked))
        )

    async def _read(self, request: web.Request, reading: Coroutine[None, None, web.Response]) -> web.Response:
        started_at = time.perf_counter()
        try:
            response = await _unless_left(request, reading)
            result = "left" if response is None else "ok"
        except PastUnavailableError as error:
            result = error.reason
            response = self._door.refuse(_UNREAD)
        self._live.observer.history(result, time.perf_counter() - started_at)
        # Nobody will get it, which aiohttp takes as an ordinary end, unlike an exception.
        return web.Response() if response is None else response

    async def _send(self, request: web.Request, window: Window) -> web.Response:
        body = await self._shared.get(window, lambda: self._encoded(window))
        is_past = window.end_ms / 1000 < time.time() - _PAST_AFTER_S
        freshness = f"private, max-age={_MAX_AGE_S}" if is_past else "private, no-cache"
        return await json_response(request, lambda: body, freshness=freshness)

    async def _encoded(self, window: Window) -> bytes:
        past = await self._past.read(self._device_events.devices_of(window.event), window)
        return await asyncio.to_thread(encode, past)

    async def _send_extent(self, asked: AskedEvent) -> web.Response:
        extent = await self._past.extent(self._device_events.devices_of(asked.event), datetime.now(UTC))
        first_ms, last_ms = extent or (None, None)
        document = {"event": asked.event, "from": first_ms, "to": last_ms}
        return web.json_response(document, headers={**SECURITY_HEADERS, "Cache-Control": "private, no-cache"})


async def _unless_left(request: web.Request, reading: Coroutine[None, None, web.Response]) -> web.Response | None:
    """Return the answer; None when the client leaves, for whom nothing more is done."""
    task = asyncio.create_task(reading)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_S)
            # aiohttp tells a handler of it only by cancelling all handlers, those of sockets too.
            if request.transport is None or request.transport.is_closing():
                return None
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
