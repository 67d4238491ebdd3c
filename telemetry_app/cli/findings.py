"""What `telemetry check` finds out about each dependency.

Nothing is changed but for one key of Redis, which is made to try its streams and then deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import asyncpg
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from faust_redis.redis import keys
from faust_redis.redis.client import connect as connect_redis
from telemetry_app.database.migrate import MigrationError, status
from telemetry_app.database.postgres import connect as connect_postgres, describe
from telemetry_app.redaction import redact_url
from telemetry_app.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from faust_redis.redis.client import Client

# For everything that is asked of one dependency together.
TIMEOUT_S: Final = 5.0
# The lag of a group, and the entries that XAUTOCLAIM finds trimmed away, came with 7.0.
LEAST_REDIS: Final = (7, 0)

_UNREACHABLE: Final = (
    OSError,
    RedisError,
    RedisClusterException,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    aiohttp.ClientError,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, and that it is well or what is wrong and how to mend it."""

    name: str
    ok: bool
    text: str


def good(name: str, text: str) -> Finding:
    """Return a finding that asks nothing of anybody."""
    return Finding(name, ok=True, text=text)


def wrong(name: str, what: str, remedy: str) -> Finding:
    """Return a finding that somebody has to act on."""
    return Finding(name, ok=False, text=redact_url(f"{' '.join(what.split()).rstrip('.')}: {remedy}"))


async def dependencies(settings: Settings) -> AsyncIterator[Finding]:
    """Look at each dependency in turn, for at most `TIMEOUT_S` each."""
    steps: list[tuple[str, Callable[[Settings], AsyncIterator[Finding]], str]] = [
        ("redis", redis, "start Redis, or set REDIS_URL"),
        ("postgres", postgres, "start PostgreSQL, or set POSTGRES_URL"),
        ("ports", ports, "set METRICS_PORT and LIVE_PORT to free ports"),
    ]
    if "live" in settings.roles:
        steps.append(("directus", directus, "start Directus, or set DIRECTUS_BASE_URL"))
    for name, look, remedy in steps:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                findings = [finding async for finding in look(settings)]
        except TimeoutError:
            findings = [wrong(name, f"no answer within {TIMEOUT_S:g} s", remedy)]
        except _UNREACHABLE as exc:
            findings = [wrong(name, describe(exc), remedy)]
        for finding in findings:
            yield finding


async def redis(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the server's version and role, try its streams, and read how far the group is."""
    client = connect_redis(settings.redis_url)
    try:
        server, replication = await client.info("server"), await client.info("replication")
        version, role = str(server["redis_version"]), replication["role"]
        label = f"{redact_url(settings.redis_url)}, version {version}"
        if tuple(int(part) for part in version.split(".")[:2]) < LEAST_REDIS:
            yield wrong("redis", label, "install Redis 6.2 or later")
            return
        if role != "master":
            yield wrong("redis", f"{label} is a read-only replica", "set REDIS_URL to the master")
            return
        yield good("redis", f"{label}, takes writes")
        yield await _tried_streams(client, settings)
        yield await _stream_facts(client, settings)
    finally:
        await client.aclose()


async def _tried_streams(client: Client, settings: Settings) -> Finding:
    key = f"{{{settings.redis_telemetry_stream}}}:check:{settings.instance_id}"
    commands: list[tuple[str | int, ...]] = [
        ("XADD", key, "*", "check", "1"),
        ("XGROUP", "CREATE", key, "check", "0"),
        ("XREADGROUP", "GROUP", "check", "check", "COUNT", 1, "STREAMS", key, ">"),
        ("XAUTOCLAIM", key, "check", "check", 0, "0"),
    ]
    try:
        try:
            for command in commands:
                await client.execute_command(*command)
        finally:
            await client.execute_command("DEL", key)
    except ResponseError as exc:
        remedy = "let the user of REDIS_URL use streams on keys that hold the stream's name, and see to free memory"
        return wrong("redis streams", f"refused ({exc})", remedy)
    return good("redis streams", "usable")


async def _stream_facts(client: Client, settings: Settings) -> Finding:
    name, partitions = settings.redis_telemetry_stream, settings.redis_telemetry_partitions
    records = pending = lag = 0
    unknown = False
    for partition in range(partitions):
        stream = keys.partition_stream(name, partition, partitions)
        kind = await client.execute_command("TYPE", stream)
        if kind in {b"none", "none"}:
            continue
        if kind not in {b"stream", "stream"}:
            return wrong("stream", f"the key {stream} holds no stream", "set REDIS_TELEMETRY_STREAM, or rename the key")
        records += await client.execute_command("XLEN", stream)
        group = await _group(client, stream, settings.redis_consumer_group)
        pending += group.get("pending", 0)
        lag += group.get("lag") or 0
        unknown |= group.get("lag") is None
    how_far = "unknown" if unknown else str(lag)
    return good("stream", f"{name}: {records} records, {pending} pending, lag {how_far}")


async def _group(client: Client, stream: str, group: str) -> dict[str, Any]:
    """Return what Redis knows of a group; nothing before its first read."""
    rows: list[dict[str, Any]] = await client.xinfo_groups(stream)
    return next((row for row in rows if row["name"] in {group, group.encode()}), {})


async def postgres(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the server, its extensions, the migrations and the table."""
    connection = await connect_postgres(settings.postgres_url, attempts=1, timeout_s=TIMEOUT_S)
    try:
        version = ".".join(str(part) for part in connection.get_server_version()[:2])
        label = f"{redact_url(settings.postgres_url)}, version {version}"
        if await connection.fetchval("SELECT pg_is_in_recovery()"):
            yield wrong("postgres", f"{label} is in recovery and takes no writes", "set POSTGRES_URL to the primary")
            return
        yield good("postgres", f"{label}, takes writes")
        yield await _extensions(connection)
        yield await _migrations(connection)
        yield await _positions(connection)
    finally:
        await connection.close(timeout=1)


async def _extensions(connection: asyncpg.Connection[Any]) -> Finding:
    rows = await connection.fetch(
        "SELECT name, installed_version FROM pg_available_extensions WHERE name IN ('timescaledb', 'postgis')"
    )
    versions = {row["name"]: row["installed_version"] for row in rows}
    states = (
        f"{title} {versions[name] or 'available'}" if name in versions else f"{title} not available"
        for name, title in (("timescaledb", "TimescaleDB"), ("postgis", "PostGIS"))
    )
    return good("extensions", ", ".join(states))


async def _migrations(connection: asyncpg.Connection[Any]) -> Finding:
    try:
        rows = await status(connection)
    except MigrationError as exc:
        return wrong("migrations", str(exc), "install the release again")
    behind = [f"{row.version:04d}_{row.name} is {row.state}" for row in rows if row.state != "applied"]
    if not behind:
        return good("migrations", f"{len(rows)} applied, none pending")
    drifted = any(row.state in {"changed", "unknown"} for row in rows)
    return wrong(
        "migrations", ", ".join(behind), "run the release it belongs to" if drifted else "run `telemetry migrate`"
    )


async def _positions(connection: asyncpg.Connection[Any]) -> Finding:
    if await connection.fetchval("SELECT to_regclass('positions')") is None:
        return wrong("table", "there is no table positions", "run `telemetry migrate`")
    hypertable = await connection.fetchval("SELECT to_regclass('timescaledb_information.hypertables')") and (
        await connection.fetchval(
            "SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = 'positions'"
        )
    )
    return good("table", f"positions is a {'hypertable' if hypertable else 'plain table'}")


async def ports(settings: Settings) -> AsyncIterator[Finding]:
    """Look whether a worker could listen, or one does already."""
    wanted = [("METRICS_PORT", settings.metrics_host, settings.metrics_port)]
    if "live" in settings.roles:
        wanted.append(("LIVE_PORT", settings.live_host, settings.live_port))
    worker_runs = await _is_worker(settings.metrics_host, settings.metrics_port)
    for variable, host, port in wanted:
        problem = _why_not_free(host, port)
        if problem is None:
            yield good(variable, f"{port} is free" if port else "any free port")
        elif worker_runs:
            yield good(variable, f"{port} is in use, and a worker runs here")
        else:
            yield wrong(variable, f"{port} on {host} cannot be used ({problem})", f"set {variable} to a free port")


def _why_not_free(host: str, port: int) -> str | None:
    try:
        # As a server does it: a port whose last connections are still closing is free.
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as exc:
        return exc.strerror or str(exc)
    return None


async def _is_worker(host: str, port: int) -> bool:
    target = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else host  # noqa: S104 - compared, not bound
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
        async with _http(1.0) as client, client.get(f"http://{target}:{port}/readyz") as answer:
            return isinstance(json.loads(await answer.text()), dict)
    return False


async def directus(settings: Settings) -> AsyncIterator[Finding]:
    """Ask Directus who nobody is, which it has to refuse."""
    try:
        settings.require_live_auth()
    except SettingsError as exc:
        yield wrong("directus", str(exc), "set DIRECTUS_BASE_URL")
        return
    if settings.live_auth == "none":
        yield good("directus", "not asked: LIVE_AUTH=none lets everyone see everything")
        return
    base = settings.directus_base_url
    async with _http(settings.directus_timeout_ms / 1000) as client, client.get(f"{base}/users/me") as answer:
        if answer.status in {200, 401, 403}:
            yield good("directus", f"{redact_url(str(base))} answers")
        else:
            yield wrong("directus", f"{base} answers {answer.status}", "set DIRECTUS_BASE_URL to the root of Directus")


def _http(timeout_s: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s))
