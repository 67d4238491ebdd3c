"""Whether Redis has as many partitions as the settings say, and records where they look for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faust_redis.partitions.discovery import kinds
from faust_redis.partitions.overview import waiting
from telemetry_app.assembly.partitions import build_record
from telemetry_app.assembly.transport import PARTITIONS_COMMAND
from telemetry_app.cli.findings.finding import Finding, warned, wrong

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from faust_redis.redis.client import Client
    from telemetry_app.settings import Settings


async def look_at_partitions(client: Client, settings: Settings) -> AsyncIterator[Finding]:
    """Return a finding when Redis has another number of partitions: no worker would start.

    And one when records wait in the plain stream, which nobody reads where the producer is to choose the partition.
    """
    problem = await build_record(settings, client).why_not(settings.redis_telemetry_partitions)
    if problem is not None:
        what, _, remedy = problem.partition(": ")
        yield wrong("partitions", what, remedy)
        return
    stream = settings.redis_telemetry_stream
    if settings.distributes or settings.redis_telemetry_partitions == 1:
        return
    if (await kinds(client, [stream])).get(stream) != "stream":
        return
    lag, _, _ = await waiting(client, stream, settings.redis_consumer_group)
    if lag != 0:
        records = "records" if lag is None else f"{lag:,} records"
        yield warned(
            "producer",
            f"REDIS_TELEMETRY_PRODUCER is sharded, and {records} wait in {stream}, which nobody reads then",
            f"stop all workers and run `{PARTITIONS_COMMAND} {settings.redis_telemetry_partitions}`, which brings them"
            " to their partitions",
        )
