"""All dependencies, in the order in which they are looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
import asyncpg
from redis.exceptions import AuthenticationError, RedisClusterException, RedisError

from telemetry_app.cli.findings.basemap import look_at_basemap
from telemetry_app.cli.findings.directus import look_at_directus
from telemetry_app.cli.findings.finding import TIMEOUT_S, Finding, wrong
from telemetry_app.cli.findings.ports import look_at_ports
from telemetry_app.cli.findings.postgres import look_at_postgres
from telemetry_app.cli.findings.redis import look_at_redis
from telemetry_app.database.errors import DATABASE_ERRORS, describe, meaning_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telemetry_app.settings import Settings

_UNREACHABLE: Final = (*DATABASE_ERRORS, RedisError, RedisClusterException, aiohttp.ClientError)


async def dependencies(settings: Settings) -> AsyncIterator[Finding]:
    """Look at each dependency in turn, for at most `TIMEOUT_S` each."""
    steps: list[tuple[str, Callable[[Settings], AsyncIterator[Finding]], str]] = [
        ("redis", look_at_redis, "start Redis, or set REDIS_URL"),
        ("postgres", look_at_postgres, "start PostgreSQL, or set POSTGRES_URL"),
        ("ports", look_at_ports, "set METRICS_PORT and LIVE_PORT to free ports"),
    ]
    if "live" in settings.roles:
        steps.append(("directus", look_at_directus, "start Directus, or set DIRECTUS_BASE_URL"))
        steps.append(("base map", look_at_basemap, "set LIVE_BASEMAP to a file that can be read at once"))
    for name, look, remedy in steps:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                findings = [finding async for finding in look(settings)]
        except TimeoutError:
            findings = [wrong(name, f"no answer within {TIMEOUT_S:g} s", remedy)]
        except _UNREACHABLE as exc:
            findings = [wrong(name, describe(exc), _advice(exc) or remedy)]
        for finding in findings:
            yield finding


def _advice(error: Exception) -> str | None:
    """Return what to do about an answer, where more is known than that there was none."""
    if isinstance(error, AuthenticationError):
        return "correct the user or the password in REDIS_URL"
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in {"28", "3D", "42"}:
        return meaning_of(error).advice
    return None
