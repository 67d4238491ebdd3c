"""Which batches of a partition are in flight, which are done, and what they changed."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faust_redis.stream.batch import RecordBatch

#: So many settled batches may wait behind one that is not. They are stored again after a crash, and as duplicates.
MOST_HELD_UP: Final = 8
#: Stands in a batch's changes for a key that was deleted.
DELETED = object()


class InFlight:
    """One batch between its delivery and its commit.

    Attributes:
        offset: Dense local number of the batch in its partition; Faust commits in terms of it.
        changes: For each table, the keys that processing this batch changed, with their encoded values as of its end.
        settled: Whether the application is done with the batch, so that it may be committed.
        given_up: Whether the application will never settle it: its agent raised, or the worker stops.
        message: The message that carried the batch into Faust, once there is one; it may be garbage since.
    """

    __slots__ = ("batch", "changes", "given_up", "message", "offset", "settled")

    def __init__(self, offset: int, batch: RecordBatch) -> None:
        self.offset = offset
        self.batch = batch
        self.changes: dict[str, dict[str, Any]] = {}
        self.settled = False
        self.given_up = False
        self.message: weakref.ref[Any] | None = None

    @property
    def abandoned(self) -> bool:
        """Whether the application dropped the batch without settling it: knowingly, or by forgetting its message."""
        if self.settled:
            return False
        return self.given_up or (self.message is not None and self.message() is None)


class Ledger:
    """Batches of one partition in delivery order; they settle in any order and are committed in this one."""

    def __init__(self) -> None:
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
        """Whether so much is settled and waits for an older batch that no more should be read."""
        waiting, blocked = 0, False
        for flight in self._in_flight:
            if not flight.settled:
                blocked = True
            elif blocked:
                waiting += 1
                flight.batch.forget_fields()
        return waiting >= MOST_HELD_UP

    def register(self, batch: RecordBatch) -> InFlight:
        """Take a batch up that is about to be delivered, and give it its offset."""
        flight = InFlight(self._next_offset, batch)
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

    def reset(self) -> None:
        """Give up every batch in flight: they are read again from the pending entries, with new offsets."""
        self._in_flight.clear()

    @property
    def dirty(self) -> bool:
        """Whether a batch that was not committed has changed a table."""
        return any(flight.changes for flight in self._in_flight)

    @property
    def abandoned(self) -> bool:
        """Whether a batch was dropped without being settled, so that nothing after it can be committed."""
        return any(flight.abandoned for flight in self._in_flight)

    def entry_ids(self) -> set[bytes]:
        """Return the ids of all entries in flight."""
        return {entry_id for flight in self._in_flight for entry_id, _ in flight.batch.entries}
