"""The map, its files and its configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.app.live.directus.rights import EIGHT, SEVEN, Spectator
from tests.app.live.directus.stand_in import DirectusServer
from tests.app.live.harness import LiveFactory, Side, now_ms


@pytest.fixture
async def side(live: LiveFactory) -> AsyncIterator[Side]:
    async with live(devices={SEVEN: ["a"]}) as side:
        yield side


async def test_the_pages(side: Side, directus: DirectusServer, spectator: Spectator) -> None:
    """The map, its files and its configuration are served with headers that allow nothing foreign."""
    await directus.allow(spectator.user_id, [EIGHT])
    async with side.http.get(f"{side.url}/") as page:
        assert (page.status, page.content_type) == (200, "text/html")
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Referrer-Policy"] == "no-referrer"
    asked_ms = now_ms()
    async with side.http.get(f"{side.url}/config.json", headers={"Cookie": side.cookie}) as config:
        document = await config.json()
        assert isinstance(document.pop("viewer"), str)
        assert asked_ms <= document.pop("now") <= now_ms()
        events = [{"id": EIGHT, "name": "Race"}]
        assert document == {"path": "/live", "events": events, "auth": "none", "basemap": None}
        assert config.headers["Cache-Control"] == "no-store"


async def test_who_watches(live: LiveFactory, directus: DirectusServer, spectator: Spectator) -> None:
    """The page can tell users from each other, whatever their sessions, and learns no more of them."""
    cookies = [spectator.cookie, await directus.login(spectator.user_id)]
    cookies.append(await directus.login(await directus.add_user()))
    async with live(devices={SEVEN: ["a"]}) as side:
        viewers = []
        for cookie in cookies:
            async with side.http.get(f"{side.url}/config.json", headers={"Cookie": cookie}) as config:
                viewers.append((await config.json())["viewer"])
                assert spectator.user_id not in await config.text()
    assert viewers[0] == viewers[1] != viewers[2]


@pytest.mark.parametrize("origins", [("https://www.example.org", "https://*.b.example:8443"), ("*",)])
async def test_pages_that_may_frame_the_map(live: LiveFactory, origins: tuple[str, ...]) -> None:
    """Who may show the map in a frame may do nothing else: neither frame an answer nor connect as a page of its own."""
    foreign = {"Origin": "https://www.example.org"}
    async with live(devices={SEVEN: ["a"]}, embed_origins=origins) as side:
        cookie = {"Cookie": side.cookie}
        async with side.http.get(f"{side.url}/?embed=1") as page:
            policy = page.headers["Content-Security-Policy"]
            assert policy.endswith(f"; frame-ancestors {' '.join(origins)}")
            assert "default-src 'self'" in policy
            assert "X-Frame-Options" not in page.headers
            assert page.headers["X-Content-Type-Options"] == "nosniff"
        async with side.http.get(f"{side.url}/config.json", headers=cookie) as config:
            assert config.headers["Content-Security-Policy"].endswith("; frame-ancestors 'none'")
            assert config.headers["X-Frame-Options"] == "DENY"
        for path in ("/live", "/config.json"):
            async with side.http.get(f"{side.url}{path}", headers=cookie | foreign) as answer:
                assert (answer.status, (await answer.json())["code"]) == (403, "origin")


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/..%2fview.py", "/%2e%2e%2fview.py", "/..", "/.", "/%00", "/" + "x" * 300]
)
async def test_no_other_file_is_served(side: Side, path: str) -> None:
    """What is not one of the map's files is not there."""
    async with side.http.get(f"{side.url}{path}", allow_redirects=False) as page:
        body = await page.text()
        assert page.status == 404 or (path in {"/..", "/."} and "<html" in body)


async def test_plain_http_tells_why(side: Side) -> None:
    """A page may ask by plain HTTP why its upgrade was refused."""
    cookie = {"Cookie": side.cookie}
    for headers, status in ((cookie, 426), ({}, 401), ({**cookie, "Origin": "http://else.example"}, 403)):
        async with side.http.get(f"{side.url}/live", headers=headers) as answer:
            assert answer.status == status
    async with side.http.get(f"{side.url}/config.json") as config:
        assert config.status == 401
