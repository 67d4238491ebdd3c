"""The value of one Faust event: the entries of one read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Verdict(NamedTuple):
    """Why an entry was not processed: a short class of reasons for counting, and a sentence for people."""

    kind: str
    reason: str


class RecordBatch:
    """Entries of one partition in stream order, and the verdict on those that cannot be processed.

    Iterating gives pairs of entry id (`b"1700000000000-0"`) and the flat list of field names and values as Redis
    returned them. The batch is acknowledged as a whole by the consumer's commit, except for

    * refused entries, which stay pending and are delivered again until they have been delivered as often as the
      transport allows, then go to the dead letters;
    * buried entries, which go to the dead letters at once.

    Attributes:
        stream: Key of the partition's stream.
        redelivered: Whether the entries had been delivered before.
    """

    __slots__ = ("buried", "entries", "redelivered", "refused", "stream")

    def __init__(self, stream: str, entries: Sequence[tuple[bytes, list[bytes]]], *, redelivered: bool = False) -> None:
        self.stream = stream
        self.entries = entries
        self.redelivered = redelivered
        self.refused: dict[bytes, Verdict] = {}
        self.buried: dict[bytes, Verdict] = {}

    def refuse(self, entry_id: bytes, kind: str, reason: str) -> None:
        """Leave an entry pending, for instance because a later version may be able to read it."""
        self.refused[entry_id] = Verdict(kind, reason)

    def bury(self, entry_id: bytes, kind: str, reason: str) -> None:
        """Send an entry to the dead letters when the batch is committed."""
        self.buried[entry_id] = Verdict(kind, reason)

    def __iter__(self) -> Iterator[tuple[bytes, list[bytes]]]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<RecordBatch {self.stream} {len(self.entries)} entries>"


def entry_position(entry_id: bytes) -> tuple[int, int]:
    """Return an entry id as comparable numbers: milliseconds since the epoch, and the sequence within them."""
    ms, _, sequence = entry_id.partition(b"-")
    return int(ms), int(sequence or 0)
