"""Directus, which decides who may see what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import aiohttp

from telemetry_app.cli.findings.finding import Finding, good, wrong
from telemetry_app.redaction import redact_url
from telemetry_app.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry_app.settings import Settings

_REDIRECTIONS: Final = {301, 302, 303, 307, 308}
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
        if answer.status in _REDIRECTIONS:
            target = answer.headers.get("Location", "nowhere").removesuffix("/users/me")
            yield wrong("directus", f"{base} redirects to {target}", "set DIRECTUS_BASE_URL to where Directus answers")
        elif answer.status not in {200, 401, 403}:
            yield wrong("directus", f"{base} answers {answer.status}", _REMEDY)
        elif not _is_object(await answer.text(errors="replace")):
            yield wrong("directus", f"{base} answers, but not as Directus does (no JSON object)", _REMEDY)
        else:
            yield good("directus", f"{redact_url(str(base))} answers")


def _is_object(body: str) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
