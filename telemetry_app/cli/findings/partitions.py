"""Whether the streams in Redis are of as many partitions as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from faust_redis.redis.client import execute
from faust_redis.redis.replies import facts, text
from telemetry_app.cli.findings.finding import Finding, wrong

if TYPE_CHECKING:
    from faust_redis.redis.client import Client
    from telemetry_app.settings import Settings

_MOST: Final = 1024


async def look_at_partitions(client: Client, settings: Settings) -> Finding | None:
    """Return a finding when Redis shows another number of partitions, which moves devices between streams."""
    name, group, wanted = (
        settings.redis_telemetry_stream, settings.redis_consumer_group, settings.redis_telemetry_partitions,
    )  # fmt: skip
    numbers = await _numbers(client, name)
    if wanted > 1 and not numbers and await _is_read(client, name, group):
        return _finding(name, wanted, 1)
    if numbers and (wanted == 1 or numbers[-1] >= wanted):
        return _finding(name, wanted, numbers[-1] + 1)
    read = [n for n in numbers if await _is_read(client, f"{name}:{n}", group)]
    if read and read[-1] + 1 < wanted:
        return _finding(name, wanted, read[-1] + 1)
    return None


def _finding(name: str, wanted: int, found: int) -> Finding:
    shown = name if found == 1 else f"{name}:0 to {name}:{found - 1}"
    return wrong(
        "partitions",
        f"REDIS_TELEMETRY_PARTITIONS is {wanted}, but Redis has the streams of {found} ({shown})",
        f"set REDIS_TELEMETRY_PARTITIONS={found}, or let all workers finish these streams and delete them first",
    )


async def _numbers(client: Client, name: str) -> list[int]:
    pipeline: Any = client.pipeline(transaction=False)
    async with pipeline:
        for number in range(_MOST):
            pipeline.execute_command("TYPE", f"{name}:{number}")
        kinds = await pipeline.execute()
    return [number for number, kind in enumerate(kinds) if text(kind) == "stream"]


async def _is_read(client: Client, stream: str, group: str) -> bool:
    """Tell whether the group has been made on a stream, which is when a worker takes it."""
    if text(await execute(client, "TYPE", stream)) != "stream":
        return False
    known = [text(facts(info)["name"]) for info in await execute(client, "XINFO", "GROUPS", stream)]
    return group in known
