"""Where everything of a topic belongs under a number of partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faust_redis.redis import keys
from faust_redis.redis.packing import unpacked
from faust_redis.stream.dead_letters import ADDED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from faust_redis.partitions.backlog import Moving

    #: Returns the key of an entry's fields (names and values, alternating); an empty one leads to partition 0.
    KeyOf = Callable[[Sequence[bytes]], bytes]
    #: Returns the value of a key of which two partitions have one.
    Combine = Callable[[bytes, bytes], bytes]


class Layout(NamedTuple):
    """A number of partitions of a topic.

    Attributes:
        topic: Name of the topic.
        group: Name of the consumer group.
        partitions: Their number.
        run: Name of the change that leads to it.
        key_of: What decides on an entry's partition.
        tables: The tables kept with the partitions, and what combines two values of a key.
    """

    topic: str
    group: str
    partitions: int
    run: str
    key_of: KeyOf
    tables: Mapping[str, Combine]

    @property
    def streams(self) -> list[str]:
        """The streams, by number of partition."""
        return [keys.partition_stream(self.topic, number, self.partitions) for number in range(self.partitions)]

    def stream_of(self, key: bytes) -> str:
        """Return where what has this key belongs."""
        return keys.partition_stream(self.topic, keys.partition_of(key, self.partitions), self.partitions)

    def stream_of_entry(self, moving: Moving) -> str:
        """Return where an entry belongs."""
        return self.stream_of(self.key_of(unpacked(moving.fields)))

    def stream_of_letter(self, moving: Moving) -> str:
        """Return where a dead letter belongs: where its entry does."""
        return self.stream_of(self.key_of(unpacked(moving.fields[:-ADDED_FIELDS])))

    def stays(self, stream: str) -> bool:
        """Tell whether a stream and its entries stay as they are: the plain one, when it is the only partition."""
        return self.partitions == 1 and stream == self.topic

    def copied(self, stream: str) -> str:
        """Return where the entries of a stream are put together."""
        return keys.moving(stream, self.run, "entries")

    def until(self, stream: str) -> str:
        """Return where it stands until which entry a stream was copied."""
        return keys.moving(stream, self.run, "until")

    def beside(self, stream: str) -> list[str]:
        """Return what lies beside a stream and belongs to its partition: dead letters and tables."""
        return [keys.dead_letters(stream), *(keys.state(stream, self.group, table) for table in self.tables)]

    def copies_beside(self, stream: str) -> dict[str, str]:
        """Return where what is beside a stream is put together, by the keys that it is for."""
        copies = {keys.dead_letters(stream): keys.moving(stream, self.run, "dead")}
        for table in self.tables:
            copies[keys.state(stream, self.group, table)] = keys.moving(stream, self.run, f"state:{table}")
        if stream != self.topic:
            copies[keys.distribution(stream)] = keys.moving(stream, self.run, "distribution")
        return copies
