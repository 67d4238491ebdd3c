"""An HTTP server whose connections wait in a lobby."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from telemetry_app.serving.handler import RequestHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry_app.serving.lobby import Lobby


class BoundedRunner(web.AppRunner):
    """Runs an application, and bounds the connections to it.

    Args:
        app: What is served.
        lobby: Where its connections wait.
        handler: Makes what reads the requests of a connection, from the server and aiohttp's options.
        options: Of aiohttp's runner.
    """

    __slots__ = ("_handler", "_lobby")

    def __init__(
        self,
        app: web.Application,
        lobby: Lobby,
        *,
        handler: Callable[..., web.RequestHandler] = RequestHandler,
        **options: Any,
    ) -> None:
        super().__init__(app, **options)
        self._lobby = lobby
        self._handler = handler
        app.on_response_prepare.append(self._answer)

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._lobby, self._handler)

    async def _answer(self, request: web.Request, _: web.StreamResponse) -> None:
        self._lobby.answer(request.protocol)


class _Server(web.Server):
    """aiohttp's server of an application, which tells the lobby who comes, asks and goes.

    The application makes its server itself, and has no place to name another class.
    """

    def __init__(self, made: web.Server, lobby: Lobby, handler: Callable[..., web.RequestHandler]) -> None:
        super().__init__(
            made.request_handler,
            request_factory=self._request,
            handler_cancellation=made.handler_cancellation,
            loop=asyncio.get_running_loop(),
            **made._kwargs,  # noqa: SLF001 - what the application made it with
        )
        self._made = made
        self._lobby = lobby
        self._handler = handler

    def __call__(self) -> web.RequestHandler:
        return self._handler(self, loop=asyncio.get_running_loop(), **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._lobby.enter(handler)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._lobby.leave(handler)
        super().connection_lost(handler, exc)

    def _request(self, *parts: Any) -> web.BaseRequest:
        self._lobby.touch(cast("web.RequestHandler", parts[2]))
        return self._made.request_factory(*parts)
