"""Directus, which decides who may see what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from telemetry_app.cli.findings.finding import Finding, good, wrong
from telemetry_app.redaction import redact_url
from telemetry_app.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry_app.settings import Settings


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
    async with aiohttp.ClientSession(timeout=timeout) as client, client.get(f"{base}/users/me") as answer:
        if answer.status in {200, 401, 403}:
            yield good("directus", f"{redact_url(str(base))} answers")
        else:
            yield wrong("directus", f"{base} answers {answer.status}", "set DIRECTUS_BASE_URL to the root of Directus")
