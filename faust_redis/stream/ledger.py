"""Which batches of a partition are in flight, which are done, and what they changed."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from faust_redis.stream.versions import Step, Versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faust_redis.stream.batch import RecordBatch

#: So many settled batches may wait for their commit. They are stored again after a crash, and as duplicates.
MOST_HELD_UP: Final = 8
#: Stands in a batch's changes for a key that was deleted.
DELETED = object()


class InFlight:
    """One batch between its delivery and its commit.

    Attributes:
        offset: Dense local number of the batch in its partition; Faust commits in terms of it.
        changes: For each table, the keys that processing this batch changed, with their encoded values as of its end.
        steps: For each of these tables, which version the changes were computed from, and which they make.
        settled: Whether the application is done with the batch, so that it may be committed.
        given_up: Whether the application will never settle it: its agent raised, or the worker stops.
        dropped: Whether the ledger has given it up: it will not be committed, and may change nothing any more.
        message: The message that carried the batch into Faust, once there is one; it may be garbage since.
    """

    __slots__ = ("_versions", "batch", "changes", "dropped", "given_up", "message", "offset", "settled", "steps")

    def __init__(self, offset: int, batch: RecordBatch, versions: Versions) -> None:
        self._versions = versions
        self.offset = offset
        self.batch = batch
        self.changes: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, Step] = {}
        self.settled = False
        self.given_up = False
        self.dropped = False
        self.message: weakref.ref[Any] | None = None

    def note(self, table: str, changes: dict[str, Any]) -> None:
        """Note changes that this batch has made to a table in memory; the dictionary is the batch's from then on."""
        if table in self.changes:
            self.changes[table].update(changes)
        else:
            self.changes[table] = changes
            self.steps[table] = self._versions.step(table, self.offset)

    @property
    def untouched(self) -> bool:
        """Whether no agent has begun with the batch, nor ever will unless it is handed over."""
        message = self.message() if self.message is not None else None
        return not self.settled and message is not None and not message.tracked

    def drop(self) -> None:
        """Let go of the batch: nobody waits for it any more, and its entries may be read again."""
        self.dropped = True
        message = self.message() if self.message is not None else None
        if message is not None and not self.settled:
            message.give_up()

    @property
    def abandoned(self) -> bool:
        """Whether the application dropped the batch without settling it: knowingly, or by forgetting its message."""
        if self.settled:
            return False
        return self.given_up or (self.message is not None and self.message() is None)


class Ledger:
    """Batches of one partition in delivery order; they settle in any order and are committed in this one.

    Args:
        token: Of the partition's lease: with the offset it names a batch among all there ever are.

    Attributes:
        versions: Of the partition's tables.
    """

    def __init__(self, token: str = "") -> None:
        self.versions = Versions(token)
        self._next_offset = 0
        self._in_flight: deque[InFlight] = deque()

    @property
    def next_offset(self) -> int:
        """Offset that the next batch will get. Never goes back, so that an old acknowledgement finds nothing."""
        return self._next_offset

    @property
    def watermark(self) -> int:
        """Offset up to which, exclusively, every batch is settled or committed."""
        for flight in self._in_flight:
            if not flight.settled:
                return flight.offset
        return self._next_offset

    @property
    def committed(self) -> int:
        """Offset up to which, exclusively, every batch is committed."""
        return self._in_flight[0].offset if self._in_flight else self._next_offset

    def is_held_up(self) -> bool:
        """Whether so much is settled and not committed that no more should be read.

        It waits for an older batch or, where Redis takes long or refuses, for its turn.
        """
        waiting, blocked = 0, False
        for flight in self._in_flight:
            if not flight.settled:
                blocked = True
                continue
            waiting += 1
            if blocked:
                flight.batch.forget_fields()
        return waiting >= MOST_HELD_UP

    def register(self, batch: RecordBatch) -> InFlight:
        """Take a batch up that is about to be delivered, and give it its offset."""
        flight = InFlight(self._next_offset, batch, self.versions)
        self._next_offset += 1
        self._in_flight.append(flight)
        return flight

    def settled_before(self, offset: int) -> Iterator[InFlight]:
        """Yield the settled batches before an offset, oldest first; `forget` each when it is committed."""
        while self._in_flight and self._in_flight[0].settled and self._in_flight[0].offset < offset:
            yield self._in_flight[0]

    def forget(self, flight: InFlight) -> None:
        """Drop the oldest batch, which has been committed."""
        if self._in_flight and self._in_flight[0] is flight:
            self._in_flight.popleft()

    def stored(self, flight: InFlight) -> None:
        """Take note that a batch is stored and acknowledged, and drop it."""
        self.versions.committed(flight.steps)
        self.forget(flight)

    def refused(self, flight: InFlight) -> None:
        """Give up every batch, since what is stored is not what this one was computed from."""
        self.give_up()
        self.versions.parted.update(flight.steps)

    def start_over(self) -> None:
        """Give up every batch that cannot be committed: its entries are read again, with a new offset.

        The oldest ones stay as far as they are settled. The commit of the first may be under way, and its outcome must
        be known before its entries are read again: they would be counted twice.
        """
        settled = next((n for n, flight in enumerate(self._in_flight) if not flight.settled), len(self._in_flight))
        self._drop_from(settled)

    def take_back(self) -> None:
        """Give up the newest batches as far as no agent has begun with them: they are not worth waiting for."""
        kept = len(self._in_flight)
        while kept and self._in_flight[kept - 1].untouched:
            kept -= 1
        self._drop_from(kept)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in flight that will still be committed."""
        return not self._in_flight or self._in_flight[0].abandoned

    def give_up(self) -> None:
        """Give up every batch, settled ones too."""
        self._drop_from(0)

    def _drop_from(self, position: int) -> None:
        while len(self._in_flight) > position:
            self._in_flight.pop().drop()
        self.versions.compare(flight.steps for flight in self._in_flight)

    def unsettled(self) -> list[RecordBatch]:
        """Return the batches that the application is not done with."""
        return [flight.batch for flight in self._in_flight if not flight.settled]

    @property
    def abandoned(self) -> bool:
        """Whether a batch was dropped without being settled, so that nothing after it can be committed."""
        return any(flight.abandoned for flight in self._in_flight)

    def entry_ids(self) -> set[bytes]:
        """Return the ids of all entries in flight."""
        return {entry_id for flight in self._in_flight for entry_id, _ in flight.batch.entries}
