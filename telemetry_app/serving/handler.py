"""Reading the requests of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web_request import BaseRequest


class RequestHandler(web.RequestHandler):
    """Reads requests as aiohttp does, whose answers and tracebacks quote what cannot be read; these do not.

    Args:
        server: Whose connection.
        options: Of aiohttp's handler.

    Attributes:
        on_lost: Called when the connection is gone: the last moment before another may get its descriptor.
    """

    __slots__ = ("on_lost",)

    def __init__(self, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self.on_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Say that the connection is gone."""
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None
        super().connection_lost(exc)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Refuse what cannot be read, and end the connection; failures of our own are aiohttp's."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        response = self.refuse(exc)
        response.force_close()
        return response

    def refuse(self, exc: HttpProcessingError) -> web.Response:  # noqa: ARG002 - for others, who tell more
        """Return the answer to a request that cannot be read."""
        return web.Response(status=400, text="The request cannot be read.\n")
