"""The archive with the base map as it is sent: in ranges, and no other file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from telemetry_app.live.http import basemap
from tests.app.live.harness import LiveFactory, Side
from tests.support.archives import archive
from tests.support.waiting import eventually

#: More than is sent at once.
LARGE = archive(size=5_000_000)
SMALL = archive(size=50_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive."""
    path = tmp_path / "race.pmtiles"
    path.write_bytes(LARGE)
    return path


def replace(path: Path, content: bytes) -> None:
    """Put other content in the place of a file, as operators should."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


async def address(side: Side) -> str:
    """Return where the page is told that the base map is."""
    async with side.http.get(f"{side.url}/config.json", headers={"Cookie": side.cookie}) as config:
        version = (await config.json())["basemap"]
    return side.url + basemap.PATH.format(version=version)


async def get(side: Side, url: str, asked: str | None = None, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    given = headers if asked is None else {"Range": asked, **headers}
    async with side.http.request(method, url, headers=given, allow_redirects=False) as answer:
        return answer, await answer.read()


@pytest.mark.parametrize(
    ("asked", "first", "stop"),
    [
        ("bytes=0-16383", 0, 16_384),
        ("bytes=16384-16384", 16_384, 16_385),
        ("bytes=1000000-1999999", 1_000_000, 2_000_000),
        ("bytes=4999990-9999999", 4_999_990, 5_000_000),
        ("bytes=-10", 4_999_990, 5_000_000),
        ("bytes=0-", 0, basemap.MAX_BYTES),
        ("bytes=100-4999999", 100, 100 + basemap.MAX_BYTES),
        ("bytes=-9999999", 0, basemap.MAX_BYTES),
        ("BYTES=5-5", 5, 6),
        ("Bytes= 05-006 ", 5, 7),
        ("bytes=4999999-" + "9" * 5000, 4_999_999, 5_000_000),
        ("bytes=-" + "9" * 5000, 0, basemap.MAX_BYTES),
    ],
)
async def test_ranges(live: LiveFactory, path: Path, asked: str, first: int, stop: int) -> None:
    """A range is what was asked for of the file, or as much of it as is sent at once, and may be kept for ever."""
    async with live(devices={}, basemap=str(path)) as side:
        url = await address(side)
        answer, body = await get(side, url, asked)
        assert (answer.status, body) == (206, LARGE[first:stop])
        assert answer.headers["Content-Range"] == f"bytes {first}-{stop - 1}/5000000"
        assert answer.headers["Content-Length"] == str(stop - first)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable, no-transform"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        head, nothing = await get(side, url, asked, "HEAD")
        assert (head.status, nothing) == (206, b"")
        assert head.headers["Content-Range"] == answer.headers["Content-Range"]


@pytest.mark.parametrize(
    "asked",
    [
        *("bytes=5000000-", "bytes=9-1", "bytes=x-1", "bytes=-", "bytes=", "bytes=-0", "bytes=-000", "bytes=--5"),
        *("bytes=0-1,5-6", "bytes=" + "0-0," * 1000 + "0-0", "bytes=" + "9" * 5000 + "-", "bytes=\u0665-\u0666"),
    ],
)
async def test_no_such_range(live: LiveFactory, path: Path, asked: str) -> None:
    """What lies beyond the end, and what is no range, is refused with the size of the file."""
    async with live(devices={}, basemap=str(path)) as side:
        answer, _ = await get(side, await address(side), asked)
        assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */5000000")


async def test_the_whole(live: LiveFactory, path: Path) -> None:
    """A small archive is sent whole, a large one is not; ranges of unknown units or of another archive do not count."""
    async with live(devices={}, basemap=str(path)) as side:
        url = await address(side)
        assert (await get(side, url))[0].status == 400
        assert (await get(side, url, "bytes=0-5", **{"If-Range": '"other"'}))[0].status == 400
        head, _ = await get(side, url, method="HEAD")
        assert (head.status, head.headers["Content-Length"], head.headers["Accept-Ranges"]) == (200, "5000000", "bytes")
        replace(path, SMALL)
        url = await address(side)
        tag = (await get(side, url, "bytes=0-5"))[0].headers["ETag"]
        others = ('"other"', f"W/{tag}", "Sat, 28 Nov 2026 12:00:00 GMT", tag.strip('"'))
        for headers in ({}, {"Range": "lines=0-5"}, *({"Range": "bytes=0-5", "If-Range": other} for other in others)):
            answer, body = await get(side, url, **headers)
            assert (answer.status, body) == (200, SMALL)


async def test_what_is_known_is_not_sent_again(live: LiveFactory, path: Path) -> None:
    """By its tag an archive is recognised: it is not sent again, and a range of it is."""
    async with live(devices={}, basemap=str(path)) as side:
        url = await address(side)
        answer, _ = await get(side, url, "bytes=0-99")
        tag = answer.headers["ETag"]
        assert (await get(side, url, "bytes=0-99", **{"If-None-Match": tag}))[0].status == 304
        assert (await get(side, url, "bytes=0-99", **{"If-Range": tag}))[1] == LARGE[:100]


async def test_an_archive_that_is_replaced(live: LiveFactory, path: Path) -> None:
    """Whoever asks by the old name is sent to the new one."""
    async with live(devices={}, basemap=str(path)) as side:
        old = await address(side)
        replace(path, SMALL)
        answer, _ = await get(side, old, "bytes=0-99")
        assert (answer.status, answer.headers["Cache-Control"]) == (307, "no-store")
        new = await address(side)
        assert new.endswith(f"/{answer.headers['Location']}")
        assert (await get(side, new, "bytes=0-99"))[1] == SMALL[:100]
        async with side.http.get(old, headers={"Range": "bytes=0-99"}) as followed:
            assert await followed.read() == SMALL[:100]


async def test_an_archive_that_is_gone(live: LiveFactory, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It cannot be read now, pages are told of none, and the log says what is wrong with it."""
    async with live(devices={}, basemap=str(path)) as side:
        url = await address(side)
        replace(path, b"")
        assert (await address(side)).endswith("/None.pmtiles")
        assert f"LIVE_BASEMAP is {str(path)!r}, but must be a PMTiles archive of version 3" in caplog.text
        assert (await get(side, url, "bytes=0-99"))[0].status == 503


async def test_no_other_file(live: LiveFactory, path: Path) -> None:
    """Nothing beside the archive can be had, whatever is asked for; without one there is none."""
    (path.parent / "secret.pmtiles").write_bytes(b"secret")
    async with live(devices={}, basemap=str(path)) as side:
        for name in ("secret", "%2e%2e%2fsecret", "..%2fsecret", "race", "%00"):
            answer, body = await get(side, f"{side.url}/live/basemap/{name}.pmtiles", "bytes=0-5")
            assert (answer.status, body) in [(307, b""), (404, body)]
            assert b"secret" not in body
    async with live(devices={}) as side:
        assert (await get(side, f"{side.url}/live/basemap/x.pmtiles", "bytes=0-5"))[0].status == 404


async def test_pages_of_other_origins(live: LiveFactory, path: Path) -> None:
    """Pages that may connect may draw on it too, others not."""
    async with live(devices={}, basemap=str(path), allowed_origins=("https://ok.example",)) as side:
        url = await address(side)
        answer, _ = await get(side, url, "bytes=0-5", Origin="https://ok.example")
        assert answer.headers["Access-Control-Allow-Origin"] == "https://ok.example"
        assert answer.headers["Vary"] == "Origin"
        assert (await get(side, url, "bytes=0-5", Origin="https://other.example"))[0].status == 403


async def test_files_are_closed(live: LiveFactory, path: Path) -> None:
    """However a request ends, no descriptor stays open."""

    def is_open() -> bool:
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]  # noqa: PTH208
        return str(path) in links

    async with live(devices={}, basemap=str(path)) as side:
        url = await address(side)
        for asked in ("bytes=0-5", "bytes=0-", "bytes=9999999-", "x"):
            await get(side, url, asked)
            await get(side, url, asked, "HEAD")
        # A client that leaves in the middle.
        async with (
            aiohttp.ClientSession(read_bufsize=1024) as http,
            http.get(url, headers={"Range": "bytes=0-"}) as part,
        ):
            assert await part.content.readexactly(10) == LARGE[:10]
            part.close()
        await eventually(lambda: not is_open(), message="the archive is closed")
