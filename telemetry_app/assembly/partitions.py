"""The partitions of the stream as the settings describe them: what workers require, and what changes their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from faust_redis.options import RedisOptions
from faust_redis.partitions.change import Repartitioning
from faust_redis.partitions.overview import overview
from faust_redis.partitions.record import PartitionRecord
from faust_redis.redis import keys
from faust_redis.redis.errors import own_errors
from telemetry_app.assembly.transport import BROADCAST_PREFIX, PARTITIONS_COMMAND, PARTITIONS_SETTING, PRODUCER_SETTING
from telemetry_app.core import device_state
from telemetry_app.records.sender import sender_of

if TYPE_CHECKING:
    from faust_redis.partitions.overview import PartitionStatus
    from faust_redis.redis.client import Client
    from telemetry_app.settings import Settings

#: The tables of the folds, and what makes one value of two that a key has in two partitions.
TABLES: Final = {device_state.TABLE: device_state.combine}


def build_record(settings: Settings, client: Client) -> PartitionRecord:
    """Return the record of the number of partitions."""
    options = _options(settings)
    return PartitionRecord(
        client, settings.redis_telemetry_stream, group=settings.redis_consumer_group, options=options
    )


def build_repartitioning(settings: Settings, client: Client) -> Repartitioning:
    """Return what changes the number of partitions."""
    return Repartitioning(
        client,
        settings.redis_telemetry_stream,
        group=settings.redis_consumer_group,
        options=_options(settings),
        tables=TABLES,
        key_of=sender_of,
        broadcast_prefix=BROADCAST_PREFIX,
        distributed=settings.redis_telemetry_producer == "single",
    )


async def look(settings: Settings, client: Client) -> list[PartitionStatus]:
    """Look at each partition: of the number in Redis, else of that in the settings.

    Raises:
        FaustRedisError: Redis does not answer, or refuses.
    """
    return await overview(
        client,
        settings.redis_telemetry_stream,
        await _number(settings, client),
        group=settings.redis_consumer_group,
        options=_options(settings),
        tables=TABLES,
    )


async def streams_of(settings: Settings, client: Client) -> list[str]:
    """Return the streams of all partitions, as many as `look` looks at, and the plain one beside several.

    Raises:
        FaustRedisError: Redis does not answer, or refuses.
    """
    topic, number = settings.redis_telemetry_stream, await _number(settings, client)
    streams = [keys.partition_stream(topic, partition, number) for partition in range(number)]
    # With what was too large to be distributed.
    return streams if number == 1 else [*streams, topic]


async def _number(settings: Settings, client: Client) -> int:
    with own_errors():
        recorded = await build_record(settings, client).read()
    return recorded.before if recorded else settings.redis_telemetry_partitions


def _options(settings: Settings) -> RedisOptions:
    return RedisOptions(
        instance_id=settings.instance_id,
        lease_ttl_ms=settings.lease_ttl_ms,
        partitions_setting=PARTITIONS_SETTING,
        partitions_command=PARTITIONS_COMMAND,
        removes_committed=settings.distributes,
        spared_groups=BROADCAST_PREFIX,
        producer=settings.redis_telemetry_producer,
        producer_setting=PRODUCER_SETTING,
    )
