"""Redis: what it is, what the user may do there, its streams, and how far the group is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoPermissionError, ReadOnlyError, ResponseError

from faust_redis.partitions.discovery import kinds, kinds_of, misplaced_among
from faust_redis.redis import keys
from faust_redis.redis.client import close, connect, execute, is_cluster
from faust_redis.redis.commands import refused
from faust_redis.redis.replies import text
from telemetry_app.assembly.partitions import TABLES
from telemetry_app.cli.findings.finding import Finding, good, warned, wrong
from telemetry_app.cli.findings.partitions import look_at_partitions
from telemetry_app.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from faust_redis.redis.client import Client
    from telemetry_app.settings import Settings

#: The lag of a group, and the entries that XAUTOCLAIM finds trimmed away, came with 7.0.
LEAST_VERSION: Final = (7, 0)
_RIGHTS: Final = "let the user of REDIS_URL do what docs/operations.md lists, on keys with the stream's name in them"


async def look_at_redis(settings: Settings) -> AsyncIterator[Finding]:
    """Look at what the server is, try every command that a worker sends, and read how far the group is."""
    client = connect(settings.redis_url)
    try:
        server = await _facts(client)
        finding = _server(settings, client, server)
        if not finding.ok:
            yield finding
            return
        rights = await _rights(client, settings)
        if rights.name == "redis":
            yield rights
            return
        yield finding
        for warning in await _dangers(client, server):
            yield warning
        yield rights
        stream = await _stream_facts(client, settings) if rights.ok else None
        if stream is not None:
            yield stream
            if stream.ok:
                async for finding_of_partitions in look_at_partitions(client, settings):
                    yield finding_of_partitions
    finally:
        await close(client)


async def _facts(client: Client) -> dict[str, Any]:
    """Return what the server says of itself; nothing when the user may not ask, which no worker does either."""
    try:
        sections = [await client.info(name) for name in ("server", "replication", "memory", "persistence", "stats")]
    except NoPermissionError:
        return {}
    return {name: value for section in sections for name, value in section.items()}


def _server(settings: Settings, client: Client, server: dict[str, Any]) -> Finding:
    url = redact_url(settings.redis_url)
    if not server:
        return good("redis", f"{url} answers; the user may not run INFO, so its version is not looked at")
    # Valkey says it under another name.
    version, mode = str(server["redis_version"]), server.get("redis_mode") or server.get("server_mode")
    label = f"{url}, version {version}"
    if mode == "sentinel":
        remedy = "set REDIS_URL to redis+sentinel://host:port/name-of-the-master, with commas between sentinels"
        return wrong("redis", f"{label} is a Sentinel, which holds no data", remedy)
    if mode == "cluster" and not is_cluster(client):
        return wrong("redis", f"{label} is a node of a Redis Cluster", "write redis+cluster:// in REDIS_URL")
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST_VERSION:
        return wrong("redis", label, "install Redis 7.0 or later")
    if server.get("role", "master") != "master":
        return wrong("redis", f"{label} is a read-only replica", "set REDIS_URL to the master")
    return good("redis", f"{label}, takes writes")


async def _dangers(client: Client, server: dict[str, Any]) -> list[Finding]:
    """Return a warning for each setting of the server by which it can lose what it was given."""
    found = []
    policy = server.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        what = f"maxmemory-policy is {policy}: a full Redis throws away leases or the stream itself"
        if evicted := server.get("evicted_keys"):
            what += f" ({evicted} keys since its start)"
        found.append(warned("redis memory", what, "set maxmemory-policy noeviction"))
    if server and not server.get("aof_enabled") and not await _saves(client):
        what = "neither the append-only file nor snapshots are on: a restart loses everything"
        found.append(warned("redis persistence", what, "set appendonly yes"))
    return found


async def _saves(client: Client) -> bool:
    """Tell whether snapshots are taken; True when the user may not ask."""
    try:
        said: Any = await client.config_get("save")
    except ResponseError:
        return True
    return bool(next(iter(said.values()), "x"))


async def _rights(client: Client, settings: Settings) -> Finding:
    stream = keys.partition_stream(settings.redis_telemetry_stream, 0, settings.redis_telemetry_partitions)
    own_key = f"{{{stream}}}:check:{settings.instance_id}"
    try:
        missing = [name async for name, _ in refused(client, stream, settings.redis_consumer_group, own_key)]
    except ReadOnlyError:
        what = f"{redact_url(settings.redis_url)} is a read-only replica"
        return wrong("redis", what, "set REDIS_URL to the master")
    except ResponseError as exc:
        return wrong("redis streams", f"refused ({exc})", f"{_RIGHTS}, and free memory")
    if missing:
        return wrong("redis streams", f"no permissions for {', '.join(dict.fromkeys(missing))}", _RIGHTS)
    return good("redis streams", "usable")


async def _stream_facts(client: Client, settings: Settings) -> Finding:
    name, partitions = settings.redis_telemetry_stream, settings.redis_telemetry_partitions
    records = pending = lag = 0
    unknown = False
    streams = [keys.partition_stream(name, partition, partitions) for partition in range(partitions)]
    for stream in [name, *streams] if settings.distributes else streams:
        kind = text(await execute(client, "TYPE", stream))
        if kind == "none":
            continue
        if kind != "stream":
            return wrong("stream", f"the key {stream} is not a stream", "set REDIS_TELEMETRY_STREAM, or rename the key")
        wanted = kinds_of(stream, settings.redis_consumer_group, TABLES)
        wanted[keys.lease(stream, settings.redis_consumer_group)] = "string"
        if misplaced := misplaced_among(wanted, await kinds(client, list(wanted))):
            return wrong("stream", misplaced, "rename that key, or DEL it if nobody needs it")
        records += await execute(client, "XLEN", stream)
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
