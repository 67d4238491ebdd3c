"""The distributor: from the stream that the ingestion writes to the partitions that workers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faust_redis.distribution.distributor import Distributor
from faust_redis.redis import keys
from telemetry_app.records.sender import sender_of

if TYPE_CHECKING:
    from telemetry_app.assembly.operations import Operations
    from telemetry_app.settings import Settings


def build_distributor(settings: Settings, operations: Operations) -> Distributor:
    """Return the distributor of one worker; nothing is connected yet."""
    source, partitions = settings.redis_telemetry_stream, settings.redis_telemetry_partitions
    return Distributor(
        settings.redis_url,
        source=source,
        partitions=[keys.partition_stream(source, number, partitions) for number in range(partitions)],
        group=settings.redis_consumer_group,
        key_of=sender_of,
        options=operations.transport,
    )
