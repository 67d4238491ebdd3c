"""Directus, which decides who may see what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import aiohttp

from telemetry_app.cli.findings.finding import Finding, good, warned, wrong
from telemetry_app.redaction import redact_url
from telemetry_app.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry_app.settings import Settings

_REDIRECTIONS: Final = {301, 302, 303, 307, 308}
_FORBIDDEN: Final = 403
#: Answers of a Directus that is where it should be.
_BUSY: Final = {
    429: "raise RATE_LIMITER_POINTS of Directus, and let it trust the workers' X-Forwarded-For (IP_TRUST_PROXY)",
    503: "wait until Directus is up and has less to do (PRESSURE_LIMITER_ENABLED); its own log says more",
}
_REMEDY: Final = "set DIRECTUS_BASE_URL to the root of Directus"


async def look_at_directus(settings: Settings) -> AsyncIterator[Finding]:
    """Ask Directus who we are without a session, which it has to refuse."""
    try:
        settings.require_live_auth()
    except SettingsError as exc:
        yield wrong("directus", str(exc), "set DIRECTUS_BASE_URL")
        return
    if settings.live_auth == "none":
        yield good("directus", "not asked: LIVE_AUTH=none lets everyone see everything")
        return
    base = settings.directus_base_url
    timeout = aiohttp.ClientTimeout(total=settings.directus_timeout_ms / 1000)
    # A worker follows no redirection either: it would send cookies to another host.
    async with (
        aiohttp.ClientSession(timeout=timeout) as client,
        client.get(f"{base}/users/me", allow_redirects=False) as answer,
    ):
        yield _judge(str(base), answer, await answer.text(errors="replace"))
    if settings.live_allow_public:
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(f"{base}/items/events?fields=id&limit=1", allow_redirects=False) as answer,
        ):
            if answer.status == _FORBIDDEN:
                what = "clients without a session may come in, but Directus' public role may not read events"
                yield warned("LIVE_ALLOW_PUBLIC", what, "let its policy read id and name of the events that it may see")


def _judge(base: str, answer: aiohttp.ClientResponse, body: str) -> Finding:
    if answer.status in _REDIRECTIONS:
        target = answer.headers.get("Location", "nowhere").removesuffix("/users/me")
        remedy = f"set DIRECTUS_BASE_URL to where Directus answers; a worker does not follow its {answer.status}"
        return wrong("directus", f"{base} redirects to {target}", remedy)
    if answer.status in _BUSY:
        return wrong("directus", f"{base} answers {answer.status}", _BUSY[answer.status])
    if answer.status not in {200, 401, _FORBIDDEN}:
        return wrong("directus", f"{base} answers {answer.status}", _REMEDY)
    if not _is_object(body):
        return wrong("directus", f"{base} answers, but not as Directus does (no JSON object)", _REMEDY)
    return good("directus", f"{redact_url(base)} answers")


def _is_object(body: str) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
