"""The partitions that this worker holds: the one thing that reading, committing, tables and ownership share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from faust_redis.stream.partition import Partition, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable


class Holdings(dict[TopicPartition, Partition]):
    """Partitions held, by topic and number. Only their owner adds and removes; everybody may find that one is lost.

    Attributes:
        changed: Set when what is held no longer fits, so that the owner looks at it soon; the owner clears it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    def lose(self, partition: Partition) -> None:
        """Touch a partition whose lease is gone no longer."""
        partition.lost = True
        self.changed.set()

    def drop(self, partition: Partition) -> None:
        """Remove a partition; what is still being processed of it changes nothing any more."""
        partition.ledger.give_up()
        self.pop(partition.tp, None)

    def add(self, partitions: Iterable[Partition]) -> None:
        """Take partitions up whose leases are ours."""
        self.update({partition.tp: partition for partition in partitions})

    def of_topic(self, topic: str) -> list[Partition]:
        """Return the partitions of a topic, those held longest first."""
        return [partition for (name, _), partition in self.items() if name == topic]
