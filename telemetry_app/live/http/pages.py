"""The page with the map: its files, and its configuration."""

from __future__ import annotations

import hashlib
import re
import time
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from telemetry_app.live.http.refusals import RETRY_AFTER_S, SECURITY_HEADERS, Refusal, page_headers
from telemetry_app.live.http.sending import sending_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.web_request import BaseRequest

    from telemetry_app.live.http.basemap import Basemap
    from telemetry_app.live.http.door import Door
    from telemetry_app.live.side import LiveSide
    from telemetry_app.serving.lobby import Lobby

_STATIC: Final = Path(str(files("telemetry_app.live.http"))) / "static"
#: What lies beside each file for those who take it, which aiohttp looks for.
_COMPRESSED: Final = {".br", ".gz"}
#: A file with a digest in its name never changes.
_UNCHANGING: Final = re.compile(r"-[A-Z0-9]{8}\.\w+")
_NOT_FOUND: Final = Refusal(404, "not-found", "There is no such page.")
_UNLISTED: Final = Refusal(
    503,
    "unavailable",
    "Your events could not be listed. Try again.",
    "the events could not be listed: Directus, or the database with LIVE_AUTH=none, could not be asked",
    RETRY_AFTER_S,
)


class PageOptions(NamedTuple):
    """What the operator decides about the page.

    Attributes:
        path: Of the WebSocket.
        authentication: How clients are known: `directus` or `none`.
        embed_origins: Pages that may show it in a frame; none = nobody may, `*` = any.
        basemap: Path of the archive with the base map; None = outlines.
    """

    path: str
    authentication: str
    embed_origins: Collection[str] = ()
    basemap: str | None = None


async def show_folder(request: web.Request) -> web.StreamResponse:
    """Lead to the page of a folder: without the slash at its end the page would not find its files."""
    location = f"{request.path.rpartition('/')[2]}/"
    return web.Response(status=308, headers={**SECURITY_HEADERS, "Location": location})


class MapPages:
    """Serves the page with the map.

    Args:
        live: Whose events it shows.
        door: Refuses requests.
        lobby: Where files that are sent are counted.
        options: What it is told, and who may show it.
        basemap: What it is drawn on.
    """

    def __init__(self, live: LiveSide, door: Door, lobby: Lobby, options: PageOptions, basemap: Basemap) -> None:
        self._live = live
        self._door = door
        self._lobby = lobby
        self._options = options
        self._basemap = basemap
        self._headers = page_headers(options.embed_origins)

    async def show_config(self, request: web.Request) -> web.StreamResponse:
        """Tell the page where the WebSocket is, who watches, which events there are, and the name of the base map."""
        credentials = self._door.credentials_of(request)
        answer = await self._live.authenticator.authenticate(credentials)
        if stranger := self._door.refuse_unknown(request, credentials, answer):
            return stranger
        events = await self._live.authorizer.visible_events(credentials)
        if events is None:
            return self._door.refuse(_UNLISTED)
        options, basemap = self._options, await self._basemap.version()
        document = {
            "path": options.path,
            "events": events,
            "auth": options.authentication,
            "viewer": _name_of(answer.user_id),
            "basemap": basemap,
            # The page tells the age of positions by this clock, whatever that of its machine says.
            "now": round(time.time() * 1000),
        }
        return web.json_response(document, headers={**SECURITY_HEADERS, "Cache-Control": "no-store"})

    async def show_page(self, request: web.Request) -> web.StreamResponse:
        """Send a file of the map: `index.html`, or one beside it."""
        name = request.match_info.get("name", "index.html")
        if name not in self._file_names:
            return _NOT_FOUND.response()
        return _Page(_STATIC / name, self._lobby, self._headers)

    @cached_property
    def _file_names(self) -> frozenset[str]:
        """Files that may be sent; listed at the first request, since importing and building do no I/O."""
        return frozenset(path.name for path in _STATIC.iterdir() if path.suffix not in _COMPRESSED)


def _name_of(user_id: str | None) -> str | None:
    """Return what tells a user from others: of the id itself pages that may connect need not know."""
    return None if user_id is None else hashlib.blake2b(user_id.encode(), digest_size=12).hexdigest()


class _Page(web.FileResponse):
    """Sends a file in time or cuts the connection; a client that leaves meanwhile is not a failure of the server."""

    def __init__(self, path: Path, lobby: Lobby, headers: Mapping[str, str]) -> None:
        caching = "public, max-age=31536000, immutable" if _UNCHANGING.search(path.name) else "no-cache"
        super().__init__(path, headers={**headers, "Cache-Control": caching, "Vary": "Accept-Encoding"})
        self._lobby = lobby

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send the file.

        Raises:
            ConnectionError: See `sending_file`.
        """
        async with sending_file(request, self._lobby):
            return await super().prepare(request)
