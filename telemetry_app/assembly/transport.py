"""The options of the transport, for everything of a worker that talks to the streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from faust_redis.options import RedisOptions, Retention
from telemetry_app.operations.observers import TransportMetrics

if TYPE_CHECKING:
    from telemetry_app.operations.metrics import Metrics
    from telemetry_app.settings import Settings

#: The group of a broadcast is this and the instance id.
BROADCAST_PREFIX: Final = "live-broadcast-"
#: What operators know the number of partitions by, and what changes it.
PARTITIONS_SETTING: Final = "REDIS_TELEMETRY_PARTITIONS"
PARTITIONS_COMMAND: Final = "telemetry partitions --to"
RESUME_COMMAND: Final = "telemetry dead-letters resume"
PRODUCER_SETTING: Final = "REDIS_TELEMETRY_PRODUCER"
_UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def redis_options(settings: Settings, metrics: Metrics) -> RedisOptions:
    """Return the options that the settings make, reporting to the metrics."""
    return RedisOptions(
        instance_id=settings.instance_id,
        batch_size=settings.batch_size,
        block_ms=settings.batch_block_ms,
        lease_ttl_ms=settings.lease_ttl_ms,
        dead_letter_after=settings.dead_letter_after,
        dead_letter_max_share=settings.dead_letter_max_share,
        # What the live side reads is the plain stream.
        removes_committed=settings.distributes,
        retention=_retention_of(settings.stream_retention),
        spared_groups=BROADCAST_PREFIX,
        observer=TransportMetrics(metrics),
        partitions_setting=PARTITIONS_SETTING,
        partitions_command=PARTITIONS_COMMAND,
        resume_command=RESUME_COMMAND,
        producer=settings.redis_telemetry_producer,
        producer_setting=PRODUCER_SETTING,
    )


def _retention_of(text: str) -> Retention | None:
    """Return what `STREAM_RETENTION` says: `none`, a number of entries, or a duration."""
    if text == "none":
        return None
    unit_ms = _UNITS_MS.get(text[-1])
    return Retention(entries=int(text)) if unit_ms is None else Retention(age_ms=int(text[:-1]) * unit_ms)
