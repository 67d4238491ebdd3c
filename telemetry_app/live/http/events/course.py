"""The course of an event by plain HTTP, under the rights of a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telemetry_app.live.http.events.reading import EventReading, json_response
from telemetry_app.live.wire.past import parse_event

if TYPE_CHECKING:
    from aiohttp import web

    from telemetry_app.live.http.door import Door
    from telemetry_app.live.ports import Credentials
    from telemetry_app.live.side import LiveSide

PATH: Final = "/live/course"
#: A body rather than a status, which browsers would report as a failure.
_NONE: Final = b'{"type":"FeatureCollection","features":[]}'


class CourseRequests:
    """Answers `GET /live/course?event=<id>`.

    Args:
        live: Whose rights and details.
        door: Refuses requests.
    """

    def __init__(self, live: LiveSide, door: Door) -> None:
        self._live = live
        self._reading = EventReading(live, door)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Send the course as GeoJSON, without features where there is none, or refuse."""
        return await self._reading.answer(
            request, parse_event, lambda asked, credentials: self._send(request, asked.event, credentials)
        )

    async def _send(self, request: web.Request, event_id: str, credentials: Credentials) -> web.Response:
        course = await self._live.details.course(event_id, credentials) or _NONE
        return await json_response(request, lambda: course, freshness="private, no-cache")
