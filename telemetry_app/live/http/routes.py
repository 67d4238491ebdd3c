"""HTTP of the live side: the upgrade, and the page with the map."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import web
from faust.web.views import View

from telemetry_app.live.clients.connection import Connection
from telemetry_app.live.http.socket import LiveSocket, converse

if TYPE_CHECKING:
    from faust.types import AppT

    from telemetry_app.live.side import LiveSide

logger = logging.getLogger(__name__)

_STATIC: Final = Path(str(files("telemetry_app.live.http"))) / "static"
_PAGES: Final = frozenset(path.name for path in _STATIC.iterdir())
#: A client that is refused for want of room comes back after so long, in seconds.
_RETRY_AFTER_S: Final = 5
#: A file of the map is sent within this time, or not at all.
_SEND_S: Final = 300.0
#: A plain connection without a request is closed after so long: longer than the minute for which proxies keep one.
_IDLE_S: Final = 75.0
#: For the aiohttp application that serves the pages.
APPLICATION_OPTIONS: Final[dict[str, Any]] = {"handler_args": {"keepalive_timeout": _IDLE_S}}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

#: maplibre makes its worker from a blob and styles elements; everything else comes from here.
_CSP: Final = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; object-src 'none'; frame-ancestors 'none'"
)
_SECURITY_HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LivePages:
    """The handlers of the live port.

    Args:
        live: What the sockets are connected to.
        path: Of the WebSocket.
        allowed_origins: Pages that may connect; none = only those of the same origin, `*` = any.
        authentication: How clients are known, told to the page: `directus` or `none`.
    """

    def __init__(self, live: LiveSide, *, path: str, allowed_origins: tuple[str, ...], authentication: str) -> None:
        self._live = live
        self._path = path
        self._allowed_origins = allowed_origins
        self._authentication = authentication
        self._taken = 0

    def routes(self) -> dict[str, Handler]:
        """Return the handlers by path."""
        return {
            self._path: self.connect,
            "/config.json": self.show_config,
            "/": self.show_page,
            "/{name}": self.show_page,
        }

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade to a WebSocket, or refuse: foreign origin, no room, no session, in this order."""
        if not self._is_welcome(request):
            return _refusal(403, "This page may not connect.")
        if not self._live.accepting or self._taken >= self._live.limits.max_connections:
            return _refusal(503, "No room.", _RETRY_AFTER_S)
        self._taken += 1
        try:
            return await self._refuse_stranger(request) or await self._serve(request)
        finally:
            self._taken -= 1

    async def show_config(self, request: web.Request) -> web.StreamResponse:
        """Tell the page where the WebSocket is and which events there are."""
        refusal = await self._refuse_stranger(request)
        if refusal is not None:
            return refusal
        events = await self._live.authorizer.visible_events(*_credentials(request))
        if events is None:
            return _refusal(503, "The events could not be listed.", _RETRY_AFTER_S)
        document = {"path": self._path, "events": events, "auth": self._authentication}
        return web.json_response(document, headers={**_SECURITY_HEADERS, "Cache-Control": "no-store"})

    async def show_page(self, request: web.Request) -> web.StreamResponse:
        """Send a file of the map: `index.html`, or one beside it."""
        name = request.match_info.get("name", "index.html")
        if name not in _PAGES:
            return _refusal(404, "Not found.")
        file = web.FileResponse(_STATIC / name, headers={**_SECURITY_HEADERS, "Cache-Control": "no-cache"})
        try:
            async with asyncio.timeout(_SEND_S):
                await file.prepare(request)
        except TimeoutError:
            # Half of it was sent: there is no other way to end it.
            if request.transport is not None:
                request.transport.abort()
        return file

    def _is_welcome(self, request: web.Request) -> bool:
        """Tell whether the page that connects may. Programs send no Origin; browsers, who lend their session, do."""
        origin = request.headers.get("Origin")
        if origin is None or "*" in self._allowed_origins:
            return True
        if self._allowed_origins:
            return origin.lower() in self._allowed_origins
        return _is_origin_of(origin, request.host)

    async def _refuse_stranger(self, request: web.Request) -> web.Response | None:
        answer = await self._live.authenticator.authenticate(*_credentials(request))
        if answer.result == "unauthorized":
            return _refusal(401, "No session.")
        if answer.result == "error":
            return _refusal(503, "The session could not be checked.", answer.retry_after_s or _RETRY_AFTER_S)
        return None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        live = self._live
        socket = LiveSocket(live.limits)
        if not socket.can_prepare(request):
            return _refusal(426, "This is a WebSocket.", Upgrade="websocket")
        await socket.prepare(request)
        transport = request.transport
        if transport is None or not live.accepting:
            return socket
        cookie, forwarded_for = _credentials(request)
        connection = Connection(
            transport, live.limits, live.observer, live.slow, cookie=cookie, forwarded_for=forwarded_for
        )
        socket.connection = connection
        live.registry.add(connection)
        try:
            await converse(socket, connection, live.requests, live.limits)
        finally:
            live.registry.remove(connection)
            live.slow.discard(connection)
            connection.hang_up()
        return socket


def add_routes(app: web.Application, pages: LivePages, live: LiveSide) -> None:
    """Serve the pages from an aiohttp application, whose shutdown ends the connections first."""
    for path, handler in pages.routes().items():
        app.router.add_get(path, handler)
    app.on_shutdown.append(lambda _: live.close_connections())


def add_views(app: AppT, pages: LivePages, live: LiveSide) -> None:
    """Serve the pages from a Faust application as web views, and nothing else of Faust's."""
    for path, handler in pages.routes().items():
        app.web.route(path, _view(handler)(app, app.web))
    app.web.web_app.on_shutdown.append(lambda _: live.close_connections())  # type: ignore[attr-defined]  # aiohttp's driver


def _view(handler: Handler) -> type[View]:
    """Return a Faust web view around a handler."""

    class LiveView(View):
        async def get(self, request: Any, **_: Any) -> Any:
            return await handler(request)

    return LiveView


def _credentials(request: web.Request) -> tuple[str | None, str]:
    """Return the Cookie header, and the addresses of the client and the proxies before us."""
    chain = [*request.headers.getall("X-Forwarded-For", ()), request.remote or "unknown"]
    return request.headers.get("Cookie"), ", ".join(chain)


def _is_origin_of(origin: str, host: str) -> bool:
    """Tell whether a page of an origin came from a host; the scheme may differ, for a proxy may end the TLS."""
    scheme, _, _ = origin.partition("://")
    if scheme not in _DEFAULT_PORTS:
        return False
    try:
        theirs, ours = (
            (parts.hostname, parts.port or _DEFAULT_PORTS[scheme])
            for parts in (urlsplit(origin), urlsplit(f"{scheme}://{host}"))
        )
    except ValueError:
        return False
    return theirs == ours


def _refusal(status: int, reason: str, retry_after_s: float | None = None, **headers: str) -> web.Response:
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return web.json_response({"error": reason}, status=status, headers={**_SECURITY_HEADERS, **headers})
