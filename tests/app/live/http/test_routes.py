"""The pages as web views of a Faust application, and nothing else of Faust's."""

from __future__ import annotations

from typing import Any

import aiohttp
import faust
import pytest
from faust.web.base import BlueprintManager

from telemetry_app.live.http.routes import APPLICATION_OPTIONS
from tests.app.live.harness import COOKIE, ask, live_side, race_ms, receive
from tests.support.bundle import built


async def test_a_faust_application_serves_them(redis_url: str, stream: str, unused_tcp_port: int) -> None:
    """Upgrade, page and configuration are answered by Faust's web server; its stop ends the connections with 1001."""
    async with live_side(redis_url, stream, devices={"7": ["a"]}) as side:
        app = faust.App(
            "views",
            broker="memory://",
            web_host="127.0.0.1",
            web_port=unused_tcp_port,
            web_application_options=APPLICATION_OPTIONS,
        )
        side.routes.add_to_faust(app)
        web: Any = app.web
        web.blueprints = BlueprintManager()
        web.init_server()
        await web.start_server()
        try:
            base = f"http://127.0.0.1:{unused_tcp_port}"
            async with side.http.get(f"{base}/") as page:
                assert (page.status, page.content_type) == (200, "text/html")
            async with side.http.get(f"{base}/{built('app.css')}") as file:
                assert (file.status, file.content_type) == (200, "text/css")
            async with side.http.get(f"{base}/config.json", headers=COOKIE) as config:
                assert config.status == 200
            for path in ("/router", "/tables", "/stats", "/graph", "/production/index.html"):
                async with side.http.get(f"{base}{path}", headers=COOKIE) as other:
                    assert other.status == 404
            socket = await side.http.ws_connect(f"{base}/live", headers=COOKIE)
            assert (await ask(socket, type="subscribe", topic="event:7"))["type"] == "subscribed"
            await side.publish("a", race_ms())
            assert (await receive(socket))["deviceId"] == "a"
            await assert_only_read(side.http, f"{base}/live")
        finally:
            await web.stop_server()
        assert (await socket.receive(30)).data == 1001


async def assert_only_read(http: aiohttp.ClientSession, address: str) -> None:
    """Whatever else than reading is asked of an address is refused as other things are, and may be told apart."""
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        async with http.request(method, address, headers=COOKIE) as answer:
            body = await answer.json()
            assert (method, answer.status, body["code"]) == (method, 405, "method-not-allowed")
            assert body.keys() == {"code", "message"}
            assert {part.strip() for part in answer.headers["Allow"].split(",")} == {"GET", "HEAD"}
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/live", "/live/course?event=7", "/live/history?event=7", "/config.json", "/no"])
async def test_everything_is_only_read(redis_url: str, stream: str, path: str) -> None:
    """Another method than GET and HEAD is refused in JSON, with those that there are."""
    async with live_side(redis_url, stream, devices={"7": ["a"]}) as side:
        await assert_only_read(side.http, f"{side.url}{path}")


@pytest.mark.parametrize("folder", ["", "/tracking"])
async def test_everything_is_below_the_folder_of_the_path(redis_url: str, stream: str, folder: str) -> None:
    """All that the page asks for is answered, whether or not a proxy leaves the folder of LIVE_PATH away."""
    async with live_side(redis_url, stream, devices={"7": ["a"]}, path="/tracking/live") as side:
        base = f"{side.url}{folder}"
        for name, status in {
            "/": 200,
            f"/{built('app.js')}": 200,
            "/config.json": 200,
            "/live/course?event=7": 200,
            "/live/history?event=7&from=1&to=2": 503,
            "/live/history/extent?event=7": 503,
            "/missing.js": 404,
        }.items():
            async with side.http.get(f"{base}{name}", headers=COOKIE) as answer:
                assert (name, answer.status) == (name, status)
        socket = await side.http.ws_connect(f"{base}/live", headers=COOKIE)
        assert (await ask(socket, type="subscribe", topic="event:7"))["type"] == "subscribed"
        await socket.close()
        async with side.http.get(f"{side.url}/tracking") as page:
            assert (str(page.url), page.status) == (f"{side.url}/tracking/", 200)
