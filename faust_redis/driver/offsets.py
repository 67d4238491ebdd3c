"""Offsets in Faust's sense, as the ledgers of the partitions held know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faust.transport import consumer as base
from faust.types import TP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from faust_redis.group.holdings import Holdings


class LedgerOffsets(base.Consumer):
    """The part of a consumer that answers questions about offsets.

    Offsets are dense local numbers, one for each batch; the ledger of each partition knows which entries an offset
    stands for. What Kafka calls seeking to the committed offset is here: give up what is in flight and read the
    group's pending entries again.

    Attributes:
        holdings: The partitions held.
    """

    holdings: Holdings

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset up to which everything is settled.

        Not Faust's own reckoning, which takes the first acknowledgement it sees for the start and so would commit
        past a batch that another writer is still writing.
        """
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        partition = self.holdings.get(tp)
        return partition.ledger.watermark if partition else None

    def _should_commit(self, tp: TP, offset: int) -> bool:
        """Decide by the ledger: Faust considers every commit it has tried as done."""
        return tp in self.holdings and offset > self.holdings[tp].ledger.committed

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Give up what is in flight; the next reads begin with the group's pending entries."""
        await self.seek_to_beginning(*(TP(*tp) for tp in self.holdings))
        return {TP(*tp): partition.ledger.next_offset for tp, partition in self.holdings.items()}

    async def _seek(self, partition: TP, offset: int) -> None:
        """Read a partition's pending entries again; there is no other place to go to."""
        await self.seek_wait({partition: offset})

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Read the partitions' pending entries again, whatever the offsets.

        When a table had changes of what is given up, there is a rebalance first, in which it is loaded again.
        """
        for tp in partitions.keys() & self.holdings.keys():
            self.holdings[tp].start_over()
        if any(partition.parted for partition in self.holdings.values()):
            self.holdings.changed.set()

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Read the partitions' pending entries again: acknowledged entries do not come back."""
        await self.seek_wait(dict.fromkeys(partitions, 0))

    async def position(self, tp: TP) -> int | None:
        """Return the offset of the next batch."""
        return self.holdings[tp].ledger.next_offset if tp in self.holdings else None

    def highwater(self, tp: TP) -> int:
        """Return the offset of the next batch: offsets are made by reading, so there is never more to come."""
        return self.holdings[tp].ledger.next_offset if tp in self.holdings else 0

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offset of the next batch of each partition."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the oldest offset that is not committed, for each partition."""
        return {tp: self.holdings[tp].ledger.committed for tp in partitions if tp in self.holdings}

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)
