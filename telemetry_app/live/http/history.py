"""Past positions by plain HTTP, under the rights of a subscription."""

from __future__ import annotations

import asyncio
import hashlib
import time
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import ETag, web

from telemetry_app.live.http.door import SESSION_ENDED, UNCHECKED
from telemetry_app.live.http.refusals import RETRY_AFTER_S, SECURITY_HEADERS, Refusal
from telemetry_app.live.ports import PastUnavailableError
from telemetry_app.live.wire.past import AskedEvent, BadWindowError, encode, parse_event, parse_window

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from telemetry_app.live.http.door import Door
    from telemetry_app.live.ports import Credentials, DeviceEvents, PastReader
    from telemetry_app.live.side import LiveSide
    from telemetry_app.live.wire.past import Past, Window

    _Asked = TypeVar("_Asked", bound=AskedEvent)

PATH: Final = "/live/history"
EXTENT_PATH: Final = "/live/history/extent"
#: How long a browser may use an answer without asking again. Trackers upload late and operators mark positions, so that
#: even the past changes.
_MAX_AGE_S: Final = 300
#: A window that ended longer ago is past: what was on its way then is stored.
_PAST_AFTER_S: Final = 60
#: How often it is looked whether the client is still there, in seconds.
_LOOK_S: Final = 0.1
_REFUSALS: Final = {
    "unauthorized": SESSION_ENDED,
    "forbidden": Refusal(403, "forbidden", "You may not see this event."),
    "not-found": Refusal(404, "not-found", "There is no such event."),
}
_UNCHECKED: Final = Refusal(503, "unavailable", "Your rights could not be checked. Try again.", UNCHECKED.advice)
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
        self._past = past
        self._device_events = device_events

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Send the positions of a window, or refuse: foreign origin, no window, no session, no right, in this order."""
        return await self._answer(request, parse_window, self._send)

    async def show_extent(self, request: web.Request) -> web.StreamResponse:
        """Send when an event began and when its last position was taken, or refuse in the same order."""
        return await self._answer(request, parse_event, self._send_extent)

    async def _answer(
        self,
        request: web.Request,
        parse: Callable[[Mapping[str, str]], _Asked],
        send: Callable[[web.Request, _Asked], Coroutine[None, None, web.Response]],
    ) -> web.Response:
        if foreigner := self._door.refuse_foreigner(request):
            return foreigner
        try:
            asked = parse(request.query)
        except BadWindowError as error:
            response = Refusal(400, "bad-request", f"{error}.").response()
        else:
            credentials = self._door.credentials_of(request)
            response = (
                await self._door.refuse_stranger(request, credentials)
                or await self._refuse_event(credentials, asked.event)
                or await self._read(request, send(request, asked))
            )
        response.headers["Vary"] = "Accept-Encoding, Cookie, Origin"
        if origin := request.headers.get("Origin"):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
        return response

    async def _refuse_event(self, credentials: Credentials, event_id: str) -> web.Response | None:
        verdict = await self._live.authorizer.may_see(event_id, credentials)
        if verdict.result == "ok":
            return None
        if verdict.result == "error":
            return self._door.refuse(_UNCHECKED._replace(retry_after_s=verdict.retry_after_s or RETRY_AFTER_S))
        return _REFUSALS[verdict.result].response()

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
        past = await self._past.read(self._device_events.devices_of(window.event), window)
        return await _response(request, past, is_past=window.end_ms / 1000 < time.time() - _PAST_AFTER_S)

    async def _send_extent(self, _: web.Request, asked: AskedEvent) -> web.Response:
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


async def _response(request: web.Request, past: Past, *, is_past: bool) -> web.Response:
    freshness = f"private, max-age={_MAX_AGE_S}" if is_past else "private, no-cache"
    headers = {**SECURITY_HEADERS, "Cache-Control": freshness}
    body, digest = await asyncio.to_thread(_encoded, past, gzip=_takes_gzip(request))
    # Weak, since it names the positions however they are encoded.
    etag = ETag(digest, is_weak=True)
    if any(known.value in {etag.value, "*"} for known in request.if_none_match or ()):
        response = web.Response(status=304, headers=headers)
    else:
        if _takes_gzip(request):
            headers["Content-Encoding"] = "gzip"
        response = web.Response(body=body, content_type="application/json", headers=headers)
    response.etag = etag
    return response


def _encoded(past: Past, *, gzip: bool) -> tuple[bytes, str]:
    """Return the body, and its digest before compression; takes a tenth of a second, so call it in a thread."""
    body = encode(past)
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    # More effort would take four times as long for a quarter less.
    return (zlib.compress(body, 1, wbits=zlib.MAX_WBITS | 16) if gzip else body), digest


def _takes_gzip(request: web.Request) -> bool:
    """Tell whether a client names gzip among the encodings that it takes, and not only to refuse it."""
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
