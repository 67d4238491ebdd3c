"""Reading the requests of the live port: what cannot be read is refused as everything else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from telemetry_app.live.http.refusals import HEADERS_TOO_LARGE, Refusal
from telemetry_app.serving.handler import RequestHandler

if TYPE_CHECKING:
    from aiohttp import web

    from telemetry_app.live.http.door import Door

_UNREADABLE: Final = Refusal(
    400,
    "bad-request",
    "The request cannot be read.",
    "a request that is not HTTP, or has bytes that no header may have",
)


class LiveHandler(RequestHandler):
    """Reads the requests of one connection.

    Args:
        server: Whose connection.
        door: Refuses what cannot be read.
        options: Of aiohttp's handler.
    """

    __slots__ = ("_door",)

    def __init__(self, server: web.Server, *, door: Door, **options: Any) -> None:
        super().__init__(server, **options)
        self._door = door

    def refuse(self, exc: HttpProcessingError) -> web.Response:
        """Return the answer to a request that cannot be read."""
        return self._door.refuse(HEADERS_TOO_LARGE if isinstance(exc, LineTooLong) else _UNREADABLE)
