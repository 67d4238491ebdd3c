"""The value of one Faust event: the entries of one read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from faust_redis.redis.replies import Entry


class Verdict(NamedTuple):
    """Why an entry was not processed.

    Attributes:
        reason: A short class of reasons, for counting.
        detail: A sentence for people.
    """

    reason: str
    detail: str


class Delivery(Protocol):
    """The way back to whoever delivered a batch."""

    def settle(self) -> None:
        """Allow the batch to be committed."""

    def give_up(self) -> None:
        """Leave the batch pending."""


class RecordBatch:
    """Entries of one partition in stream order, and the verdict on those that cannot be processed.

    Iterating gives pairs of entry id (`b"1700000000000-0"`) and the flat list of field names and values as Redis
    returned them; of an entry that was distributed and has more than 7,000 of them `faust_redis.unpacked` gives them.
    The batch is acknowledged as a whole by the consumer's commit, except for

    * refused entries, which stay pending and are delivered again until they have been delivered as often as the
      transport allows, then go to the dead letters;
    * buried entries, which go to the dead letters at once.

    Whoever takes a batch from a stream without automatic acknowledgement (`noack`) must `settle` it or `give_up`, and
    keep a reference to it until then: a batch that nobody refers to counts as dropped.

    Attributes:
        stream: Key of the partition's stream.
        redelivered: Whether the entries had been delivered before.
    """

    __slots__ = ("_complete", "_delivery", "buried", "entries", "redelivered", "refused", "stream")

    def __init__(
        self,
        stream: str,
        entries: Sequence[Entry],
        *,
        redelivered: bool = False,
        delivery: Delivery | None = None,
    ) -> None:
        self.stream = stream
        self.entries = entries
        self.redelivered = redelivered
        self.refused: dict[bytes, Verdict] = {}
        self.buried: dict[bytes, Verdict] = {}
        self._delivery = delivery
        self._complete = True

    def delivered_by(self, delivery: Delivery) -> RecordBatch:
        """Return this batch, verdicts included, with a way back to its deliverer.

        A separate batch, since the deliverer keeps the original and must notice when nobody holds the other.
        """
        delivered = RecordBatch(self.stream, self.entries, redelivered=self.redelivered, delivery=delivery)
        delivered.refused, delivered.buried = self.refused, self.buried
        return delivered

    def settle(self) -> None:
        """Allow the batch to be committed: everything that should outlive it is durable."""
        if self._delivery is not None:
            self._delivery.settle()

    def give_up(self) -> None:
        """Leave the batch pending, so that it is delivered again, here or elsewhere."""
        if self._delivery is not None:
            self._delivery.give_up()

    def refuse(self, entry_id: bytes, reason: str, detail: str) -> None:
        """Leave an entry pending, for instance because a later version may be able to read it."""
        self.refused[_checked(entry_id)] = Verdict(reason, detail)

    def bury(self, entry_id: bytes, reason: str, detail: str) -> None:
        """Send an entry to the dead letters when the batch is committed."""
        self.buried[_checked(entry_id)] = Verdict(reason, detail)

    def forget_fields(self) -> None:
        """Keep nothing of entries without a verdict but their ids, which is all that a commit needs."""
        if self._complete:
            self._complete = False
            judged = self.refused.keys() | self.buried.keys()
            self.entries = [(entry_id, fields if entry_id in judged else []) for entry_id, fields in self.entries]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<RecordBatch {self.stream} {len(self.entries)} entries>"


def _checked(entry_id: object) -> bytes:
    """Return an entry's id; one of another type would meet no entry, and what it was meant for be acknowledged."""
    if not isinstance(entry_id, bytes):
        raise TypeError(f"an entry's id is bytes, as the batch gives it, not {entry_id!r}")
    return entry_id
