"""Faust on Redis Streams, without Kafka: an application is an `App`, its topics have a `BatchSchema`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from faust_redis.broadcast.reader import BroadcastReader
    from faust_redis.broadcast.replay import StreamReplay
    from faust_redis.distribution.distributor import Distributor
    from faust_redis.driver.app import App
    from faust_redis.driver.channel import BatchSchema, DrainingChannel
    from faust_redis.driver.store import Table
    from faust_redis.observer import NullObserver, Observer
    from faust_redis.options import Pacing, RedisOptions, Retention
    from faust_redis.partitions.change import Repartitioning
    from faust_redis.redis.errors import FaustRedisError, Misconfigured, PartitionLost, Unavailable
    from faust_redis.redis.packing import unpacked
    from faust_redis.stream.batch import RecordBatch, Verdict
    from faust_redis.stream.dead_letters import DeadLetter, DeadLetters

__all__ = [
    "App",
    "BatchSchema",
    "BroadcastReader",
    "DeadLetter",
    "DeadLetters",
    "Distributor",
    "DrainingChannel",
    "FaustRedisError",
    "Misconfigured",
    "NullObserver",
    "Observer",
    "Pacing",
    "PartitionLost",
    "RecordBatch",
    "RedisOptions",
    "Repartitioning",
    "Retention",
    "StreamReplay",
    "Table",
    "Unavailable",
    "Verdict",
    "unpacked",
]

__version__: Final = "0.1.0"

# Where each name is defined. They are imported when they are first used: what only looks at dead letters or reads a
# stream needs no Faust, whose import takes most of a second.
_HOMES: Final = {
    "App": "driver.app",
    "BatchSchema": "driver.channel",
    "DeadLetter": "stream.dead_letters",
    "DeadLetters": "stream.dead_letters",
    "Distributor": "distribution.distributor",
    "DrainingChannel": "driver.channel",
    "BroadcastReader": "broadcast.reader",
    "FaustRedisError": "redis.errors",
    "Misconfigured": "redis.errors",
    "NullObserver": "observer",
    "Observer": "observer",
    "Pacing": "options",
    "PartitionLost": "redis.errors",
    "RecordBatch": "stream.batch",
    "RedisOptions": "options",
    "Repartitioning": "partitions.change",
    "Retention": "options",
    "StreamReplay": "broadcast.replay",
    "Table": "driver.store",
    "Unavailable": "redis.errors",
    "Verdict": "stream.batch",
    "unpacked": "redis.packing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
