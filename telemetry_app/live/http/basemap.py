"""The base map: one archive of tiles, named by the operator and read in ranges."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, BinaryIO, Final

from aiohttp import web

from telemetry_app.live.http.refusals import RETRY_AFTER_S, SECURITY_HEADERS, Refusal
from telemetry_app.live.http.sending import sending_file
from telemetry_app.serving.pmtiles import Archive, ArchiveError, open_archive, read

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.web_request import BaseRequest

    from telemetry_app.live.http.door import Door
    from telemetry_app.serving.lobby import Lobby

PATH: Final = "/live/basemap/{version}.pmtiles"
#: Most of an archive that is sent at once: tiles and directories are much smaller.
MAX_BYTES: Final = 4 << 20
#: So much is read before it is sent.
_CHUNK_BYTES: Final = 1 << 18
#: The one range of a Range header: from where to where, or so many at the end.
_RANGE: Final = re.compile(r"bytes=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.IGNORECASE)
#: A number with more digits lies beyond the end of every file, and Python reads none of thousands of digits.
_MAX_DIGITS: Final = 19
#: Proxies must leave the bytes as they are, or ranges would be those of something else.
_FOR_EVER: Final = "public, max-age=31536000, immutable, no-transform"
_NONE: Final = Refusal(404, "not-found", "There is no base map.")
_UNREADABLE: Final = Refusal(503, "unavailable", "The base map cannot be read now.", "", RETRY_AFTER_S)
_TOO_LARGE: Final = Refusal(
    400, "bad-request", f"The base map is sent in ranges of at most {MAX_BYTES} bytes: ask for one."
)
_NO_SUCH_RANGE: Final = Refusal(416, "bad-request", "The base map has no such range.")


class Basemap:
    """Serves the archive to whoever asks, as the files of the map are.

    Args:
        path: Of the archive; None = there is none.
        door: Refuses requests.
        lobby: Where files that are sent are counted.
    """

    def __init__(self, path: str | None, door: Door, lobby: Lobby) -> None:
        self._path = path
        self._door = door
        self._lobby = lobby

    async def version(self) -> str | None:
        """Return by which name the archive is served; None while there is none that can be shown."""
        if self._path is None:
            return None
        try:
            return (await asyncio.to_thread(read, self._path)).version
        except ArchiveError as error:
            self._refuse(error)
            return None

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Send a range of the archive; whoever asks by the name of an older one is sent to that of today's."""
        if self._path is None:
            return _NONE.response()
        try:
            # The file may have been replaced since the last request.
            file, archive = await asyncio.to_thread(open_archive, self._path)
        except ArchiveError as error:
            return self._refuse(error)
        response = _answer(request, archive, file, self._lobby)
        response.headers["Vary"] = "Origin"
        if not isinstance(response, _Part):
            file.close()
        return response

    def _refuse(self, error: ArchiveError) -> web.Response:
        """Return the answer while there is no archive that can be shown, and tell the log."""
        return self._door.refuse(_UNREADABLE._replace(advice=f"LIVE_BASEMAP is {self._path!r}, but {error}"))


def _answer(request: web.Request, archive: Archive, file: BinaryIO, lobby: Lobby) -> web.StreamResponse:
    """Return the part that is asked for, or why there is none to send."""
    if request.match_info["version"] != archive.version:
        headers = {**SECURITY_HEADERS, "Cache-Control": "no-store", "Location": f"{archive.version}.pmtiles"}
        return web.Response(status=307, headers=headers)
    headers = {**SECURITY_HEADERS, "Cache-Control": _FOR_EVER, "ETag": f'"{archive.version}"', "Accept-Ranges": "bytes"}
    if any(known.value in {archive.version, "*"} for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if not _asks_for_part(request, archive):
        if archive.size > MAX_BYTES and request.method != "HEAD":
            return _TOO_LARGE.response(**{"Accept-Ranges": "bytes"})
        return _Part(file, range(archive.size), lobby, status=200, headers=headers)
    wanted = _wanted(request.headers["Range"], archive.size)[:MAX_BYTES]
    if not wanted:
        return _NO_SUCH_RANGE.response(**{"Content-Range": f"bytes */{archive.size}"})
    headers["Content-Range"] = f"bytes {wanted[0]}-{wanted[-1]}/{archive.size}"
    return _Part(file, wanted, lobby, status=206, headers=headers)


def _asks_for_part(request: web.Request, archive: Archive) -> bool:
    """Tell whether a request has a range that counts: of bytes, and of this archive."""
    tag = f'"{archive.version}"'
    return request.headers.get("Range", "").lower().startswith("bytes=") and request.headers.get("If-Range", tag) == tag


def _wanted(asked: str, size: int) -> range:
    """Return which bytes of a file a Range header asks for; none of what is no range, or lies beyond the end."""
    found = _RANGE.fullmatch(asked)
    if found is None:
        return range(0)
    first, last, at_the_end = map(_number, found.groups())
    if first is None:
        return range(size)[-at_the_end:] if at_the_end else range(0)
    return range(first, size if last is None else min(last + 1, size))


def _number(digits: str | None) -> int | None:
    return int(digits.lstrip("0")[:_MAX_DIGITS] or "0") if digits else None


class _Part(web.StreamResponse):
    """Sends a part of a file as the client takes it, and closes the file."""

    def __init__(self, file: BinaryIO, wanted: range, lobby: Lobby, *, status: int, headers: dict[str, str]) -> None:
        super().__init__(status=status, headers=headers)
        self.content_type = "application/vnd.pmtiles"
        self.content_length = len(wanted)
        self._file = file
        self._wanted = wanted
        self._lobby = lobby

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send it.

        Raises:
            ConnectionError: See `sending_file`; or the file became shorter.
        """
        with self._file:
            async with sending_file(request, self._lobby):
                writer = await super().prepare(request)
                if request.method != "HEAD":
                    await self._send(self._file.fileno())
                return writer

    async def _send(self, descriptor: int) -> None:
        left = self._wanted
        while left:
            chunk = await asyncio.to_thread(os.pread, descriptor, min(len(left), _CHUNK_BYTES), left.start)
            if not chunk:
                raise ConnectionAbortedError("the file became shorter while it was sent")
            await self.write(chunk)
            left = left[len(chunk) :]
