"""Redis: its version and role, its streams, and how far the group is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from faust_redis.redis import keys
from faust_redis.redis.client import connect
from telemetry_app.cli.findings.finding import Finding, good, wrong
from telemetry_app.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from faust_redis.redis.client import Client
    from telemetry_app.settings import Settings

#: The lag of a group, and the entries that XAUTOCLAIM finds trimmed away, came with 7.0.
LEAST_VERSION: Final = (7, 0)


async def look_at_redis(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the server's version and role, try its streams, and read how far the group is."""
    client = connect(settings.redis_url)
    try:
        server, replication = await client.info("server"), await client.info("replication")
        version, role = str(server["redis_version"]), replication["role"]
        label = f"{redact_url(settings.redis_url)}, version {version}"
        if tuple(int(part) for part in version.split(".")[:2]) < LEAST_VERSION:
            yield wrong("redis", label, "install Redis 7.0 or later")
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
        remedy = "let the user of REDIS_URL use streams on keys with the stream's name in them, and free memory"
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
            return wrong("stream", f"the key {stream} is not a stream", "set REDIS_TELEMETRY_STREAM, or rename the key")
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
