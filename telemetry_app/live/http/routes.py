"""What the live port serves, from an aiohttp application or from Faust's."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from faust.web.views import View

from telemetry_app.live.http import basemap
from telemetry_app.live.http.basemap import Basemap
from telemetry_app.live.http.door import Door, Handler
from telemetry_app.live.http.events import course, history
from telemetry_app.live.http.events.course import CourseRequests
from telemetry_app.live.http.events.history import HistoryRequests
from telemetry_app.live.http.pages import MapPages, show_folder
from telemetry_app.live.http.proxies import TrustedProxies
from telemetry_app.live.http.refusals import Refusal
from telemetry_app.live.http.server import LiveHandler
from telemetry_app.live.http.upgrade import Upgrade
from telemetry_app.live.rights.directus import MAX_COOKIE_CHARS
from telemetry_app.serving.lobby import Lobby
from telemetry_app.serving.server import BoundedRunner

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from faust.types import AppT

    from telemetry_app.live.http.pages import PageOptions
    from telemetry_app.live.http.proxies import Network
    from telemetry_app.live.ports import DeviceEvents, PastReader
    from telemetry_app.live.side import LiveSide

#: How long a plain connection without a request is kept: longer than the minute for which proxies keep one.
_IDLE_S: Final = 75.0
#: For the aiohttp application that serves the routes.
APPLICATION_OPTIONS: Final[dict[str, Any]] = {
    # The length of a header's name counts too.
    "handler_args": {"keepalive_timeout": _IDLE_S, "max_field_size": MAX_COOKIE_CHARS + len("Cookie")}
}

#: One peer's connections may wait on so small a part of all descriptors, unless it is a trusted proxy.
_PEERS: Final = 2
_WAITING: Final = (
    "more connections without a request than open files allow, or half as many from one address: see who opens them; "
    "raise the hard limit of open files (ulimit -Hn), or name their proxy in LIVE_TRUSTED_PROXIES"
)
_NO_METHOD: Final = Refusal(405, "method-not-allowed", "This can only be read, with GET.")


class LiveRoutes:
    """The handlers of the live port by path: the WebSocket, past positions, courses, base map and page.

    Where the WebSocket has a folder, as in `/tracking/live`, everything is served below it and without it.

    Args:
        live: What they serve.
        past: Reads past positions.
        device_events: Knows the devices of an event.
        page: About the page with the map, and where the WebSocket is.
        allowed_origins: Pages that may connect; none = only those of the same origin, `*` = any.
        trusted_proxies: Whose X-Forwarded-For is believed.
    """

    def __init__(
        self,
        live: LiveSide,
        *,
        past: PastReader,
        device_events: DeviceEvents,
        page: PageOptions,
        allowed_origins: Collection[str],
        trusted_proxies: Sequence[Network],
    ) -> None:
        proxies = TrustedProxies(trusted_proxies)
        self._door = door = Door(live.authenticator, proxies, allowed_origins, sign_in_url=live.sign_in_url)
        self._lobby = Lobby(
            live.limits.max_descriptors,
            most_of_peer=max(1, live.limits.max_descriptors // _PEERS),
            peer_of=proxies.peer_of,
            refused=self._tell_of_waiting,
        )
        base = Basemap(page.basemap, door, self._lobby)
        pages = MapPages(live, door, self._lobby, page, base)
        past_requests = HistoryRequests(live, door, past, device_events)
        self._live = live
        beside: dict[str, Handler] = {
            course.PATH: door.guard(CourseRequests(live, door).show),
            history.PATH: door.guard(past_requests.show),
            history.EXTENT_PATH: door.guard(past_requests.show_extent),
            basemap.PATH: door.guard(base.show),
            "/config.json": door.guard(pages.show_config),
            "/": pages.show_page,
            "/{name:.+}": pages.show_page,
        }
        folder, _, name = page.path.rpartition("/")
        connect = door.guard(Upgrade(live, door, self._lobby).connect)
        self._handlers = {**beside, page.path: connect}
        if folder and name:
            # A proxy may leave the folder away or not.
            self._handlers |= {f"{folder}{place}": handler for place, handler in beside.items()}
            self._handlers |= {folder: show_folder, f"/{name}": connect}

    def add_to(self, app: web.Application) -> None:
        """Serve from an aiohttp application, whose shutdown ends the connections first."""
        for path, handler in self._handlers.items():
            app.router.add_get(path, handler)
        self._complete(app)

    def add_to_faust(self, app: AppT) -> None:
        """Serve from a Faust application as web views, and nothing else of Faust's."""
        for path, handler in self._handlers.items():
            app.web.route(path, _view(handler)(app, app.web))
        self._complete(app.web.web_app)  # type: ignore[attr-defined]  # aiohttp's driver

    def runner(self, app: web.Application, **options: Any) -> web.AppRunner:
        """Return what runs an application that serves them."""
        return BoundedRunner(app, self._lobby, handler=functools.partial(LiveHandler, door=self._door), **options)

    def _tell_of_waiting(self) -> None:
        self._live.observer.refused("waiting")
        self._door.tell("503 waiting", _WAITING)

    def _complete(self, app: web.Application) -> None:
        app.middlewares.append(_refuse_methods)
        app.on_shutdown.append(lambda _: self._live.close_connections())


@web.middleware
async def _refuse_methods(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse as everything else is refused what the router has no handler for: another method than GET."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        return _NO_METHOD.response(Allow=error.headers["Allow"])


def _view(handler: Handler) -> type[View]:
    """Return a Faust web view around a handler."""

    class LiveView(View):
        async def get(self, request: Any, **_: Any) -> Any:
            return await handler(request)

    return LiveView
