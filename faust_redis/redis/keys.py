"""Every Redis key of the transport is built here.

A topic's partition is one stream. Everything derived from a stream carries the stream's name as hash tag, so that
one partition's keys share a Redis Cluster slot and one script may touch all of them.
"""

import zlib


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a record's key: crc32 modulo their number, as producers in any language can do."""
    return zlib.crc32(key) % partitions


def partition_stream(topic: str, partition: int, partitions: int) -> str:
    """Return the stream that holds a topic's partition: the plain name when there is only one."""
    return topic if partitions == 1 else f"{topic}:{partition}"


def lease(stream: str, group: str) -> str:
    """Return the key whose value is the fencing token of the partition's owner."""
    return f"{{{stream}}}:lease:{group}"


def pause(stream: str, group: str) -> str:
    """Return the key that is there while the reading of a partition is paused; see `group.pauses`."""
    return f"{{{stream}}}:paused:{group}"


def state(stream: str, group: str, table: str) -> str:
    """Return the hash behind a table for one partition."""
    return f"{{{stream}}}:state:{group}:{table}"


def dead_letters(stream: str) -> str:
    """Return the stream of refused entries of a partition."""
    return f"{{{stream}}}:dead"


def workers(topic: str, group: str) -> str:
    """Return the list of live workers of a topic; see `group.members`."""
    return f"{{{topic}}}:workers:{group}"


def changes(topic: str, group: str) -> str:
    """Return the key whose value is another one after each change of who should look; see `group.changes`."""
    return f"{{{topic}}}:changes:{group}"


def instance(topic: str, instance_id: str) -> str:
    """Return the key that the process of this name holds; see `group.instance`."""
    return f"{{{topic}}}:instance:{instance_id}"


def broadcasters(topic: str) -> str:
    """Return the list of live readers of a broadcast; see `group.members`."""
    return f"{{{topic}}}:broadcasters"


def distribution(stream: str) -> str:
    """Return the hash that fences distributors: epoch and position of a partition's stream, epoch of the source."""
    return f"{{{stream}}}:distribution"


def partitions(topic: str) -> str:
    """Return the key that says of how many partitions a topic is; see `partitions.record`."""
    return f"{{{topic}}}:partitions"


def producer(topic: str) -> str:
    """Return the key that says how records come to the partitions of a topic; see `partitions.record`."""
    return f"{{{topic}}}:producer"


def moving(stream: str, run: str, what: str) -> str:
    """Return where something of a stream is put together while the number of partitions changes."""
    return f"{{{stream}}}:moving:{run}:{what}"
