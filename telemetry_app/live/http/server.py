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
_ADDRESS_TOO_LONG: Final = Refusal(
    414,
    "address-too-long",
    "The address of this request is longer than 8 KB.",
    "a request's path and query are longer than 8 KB: see which link or program asks for it",
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
        if not isinstance(exc, LineTooLong):
            return self._door.refuse(_UNREADABLE)
        # Which bound was passed tells what was too long: that of the first line is lower than a header's.
        _, bound, *_ = exc.args
        return self._door.refuse(_ADDRESS_TOO_LONG if bound == self.max_line_size else HEADERS_TOO_LARGE)
