"""`telemetry check` before a Directus that is well, elsewhere, busy, or something else."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp.web
import pytest

from telemetry_app.cli.findings.finding import Finding
from telemetry_app.settings import Settings
from tests.app.cli.test_check import HOST, look, settings

__all__ = ["settings"]


@asynccontextmanager
async def directus_at(path: str, give: Callable[..., aiohttp.web.Response]) -> AsyncIterator[str]:
    """Give the address of a server that answers below this path."""

    async def handle(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return give(request)

    app = aiohttp.web.Application()
    app.router.add_get(path, handle)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, HOST, 0).start()
    yield f"http://{HOST}:{runner.addresses[0][1]}"
    await runner.cleanup()


async def directus_finding(settings: Callable[..., Settings], answer: aiohttp.web.Response) -> tuple[str, Finding]:
    """Return the address of a server with this one answer, and what is found of it."""
    async with directus_at("/users/me", lambda _: answer) as base:
        return base, (await look(settings(roles="live", directus_base_url=base)))["directus"]


@pytest.mark.parametrize(("status", "ok"), [(401, True), (200, True), (404, False), (503, False)])
async def test_directus(settings: Callable[..., Settings], status: int, *, ok: bool) -> None:
    """Directus is well when it answers a question without a session."""
    base, finding = await directus_finding(settings, aiohttp.web.Response(status=status, text=json.dumps({})))
    assert finding.ok is ok
    assert finding.text.startswith(f"{base} answers")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_directus_that_redirects(settings: Callable[..., Settings], status: int) -> None:
    """A redirection, which no worker follows, is wrong and named with its target."""
    location = {"Location": "https://cms.example.org/users/me"}
    base, finding = await directus_finding(settings, aiohttp.web.Response(status=status, headers=location))
    assert not finding.ok
    assert finding.text.startswith(f"{base} redirects to https://cms.example.org: ")
    assert f" {status}" in finding.text


async def test_directus_that_is_busy(settings: Callable[..., Settings]) -> None:
    """A Directus that limits questions is where it should be: another address would not help."""
    base, finding = await directus_finding(settings, aiohttp.web.Response(status=429, text="{}"))
    assert finding.text.startswith(f"{base} answers 429: raise RATE_LIMITER_POINTS")


@pytest.mark.parametrize(("status", "warned"), [(200, False), (403, True)])
async def test_what_the_public_may_see(settings: Callable[..., Settings], status: int, *, warned: bool) -> None:
    """Where the public is let in and may see nothing, that is said."""

    def give(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.json_response({}, status=status if request.path == "/items/events" else 401)

    async with directus_at("/{path:.*}", give) as base:
        found = await look(settings(roles="live", directus_base_url=base, live_allow_public=True))
    assert found["directus"].ok
    assert ("LIVE_ALLOW_PUBLIC" in found) is warned


@pytest.mark.parametrize("status", [200, 401])
async def test_something_else_than_directus(settings: Callable[..., Settings], status: int) -> None:
    """A page in the place of Directus' answer is wrong."""
    page = aiohttp.web.Response(status=status, text="<html>Sign in</html>", content_type="text/html")
    _, finding = await directus_finding(settings, page)
    assert not finding.ok
    assert "not as Directus does" in finding.text


async def test_directus_is_needed(settings: Callable[..., Settings]) -> None:
    """The live side without Directus is wrong, unless everyone may see everything, or there is no live side."""
    assert not (await look(settings(roles="live")))["directus"].ok
    assert (await look(settings(roles="live", live_auth="none")))["directus"].ok
    assert "directus" not in await look(settings(roles="write"))
