"""Reading requests of the live port: as aiohttp does, but what it cannot read is refused as everything else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from telemetry_app.live.http.refusals import HEADERS_TOO_LARGE, Refusal

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

    from telemetry_app.live.http.door import Door

_UNREADABLE: Final = Refusal(
    400,
    "bad-request",
    "The request cannot be read.",
    "a request that is not HTTP, or has bytes that no header may have",
)


class LiveHandler(web.RequestHandler):
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

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Refuse what cannot be read; aiohttp's own answer and its traceback would quote it, cookies too."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        response = self._door.refuse(HEADERS_TOO_LARGE if isinstance(exc, LineTooLong) else _UNREADABLE)
        response.force_close()
        return response
