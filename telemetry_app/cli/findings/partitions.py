"""Whether Redis has as many partitions as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry_app.assembly.partitions import build_record
from telemetry_app.cli.findings.finding import Finding, wrong

if TYPE_CHECKING:
    from faust_redis.redis.client import Client
    from telemetry_app.settings import Settings


async def look_at_partitions(client: Client, settings: Settings) -> Finding | None:
    """Return a finding when Redis has another number of partitions: no worker would start."""
    problem = await build_record(settings, client).why_not(settings.redis_telemetry_partitions)
    if problem is None:
        return None
    what, _, remedy = problem.partition(": ")
    return wrong("partitions", what, remedy)
