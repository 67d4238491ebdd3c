"""Topics, partitions and streams of an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from faust_redis.redis import keys

if TYPE_CHECKING:
    from faust.types import AppT


class Declares(Protocol):
    """An application that notes with how many partitions its topics are declared; `App` is one."""

    declared_partitions: dict[str, int]


def partitions_of(app: AppT, topic: str) -> int:
    """Return how many partitions the application declared for a topic, else Faust's default."""
    return cast("Declares", app).declared_partitions.get(topic, app.conf.topic_partitions)


def partition_for(app: AppT, topic: str, key: bytes | None) -> int:
    """Return the partition of a key; records without one are in that of the empty key."""
    return keys.partition_of(key or b"", partitions_of(app, topic))


def streams_of(app: AppT, topic: str) -> list[str]:
    """Return the streams of a topic, by number of partition."""
    partitions = partitions_of(app, topic)
    return [keys.partition_stream(topic, number, partitions) for number in range(partitions)]


def stream_of(app: AppT, topic: str, partition: int) -> str:
    """Return the stream that holds a partition."""
    return keys.partition_stream(topic, partition, partitions_of(app, topic))
