"""How many entries to read at once, when what must be bounded is their bytes."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from faust_redis.redis.errors import ReplyTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from faust_redis.redis.replies import Entry

S = TypeVar("S")

#: What entries are taken to be before any was seen.
_UNSEEN_BYTES: Final = 8192
#: A read asks for at most so many times as many as the one before.
_GROWTH: Final = 4
#: After large entries small ones are believed in by and by: share of the former size that is kept with each read.
_MEMORY: Final = 0.8
#: A read that failed, perhaps because of its size, is followed by one that asks for so many times fewer.
_SHRINKAGE: Final = 8
#: What an entry of a reply has besides its fields: id and lengths.
_FRAME_BYTES: Final = 100
#: A read of many streams may bring so many pieces: smaller ones would make many small batches of usual entries.
_MOST_PIECES: Final = 3


class ReadSize:
    """Redis reads by number alone, so the number follows the size of what was read last.

    Entries may suddenly be larger: what was read is then passed on in pieces.

    Args:
        most_entries: Of one read and stream.
        most_bytes: Of one read, about, and of one piece, unless a single entry is larger.
    """

    def __init__(self, most_entries: int, most_bytes: int) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._entry_bytes = 0.0
        self._count = max(1, min(most_entries, most_bytes // _UNSEEN_BYTES))
        self._turn = 0

    def count(self, streams: int = 1) -> int:
        """Return how many entries of each stream to ask for when so many are read together."""
        together = self._most_bytes * _MOST_PIECES / (self._entry_bytes or _UNSEEN_BYTES)
        return max(1, min(self._count, int(together / streams)))

    def fits(self, reply_bytes: int | None, entries: int) -> bool:
        """Take note of a reply with so many entries, and tell whether it is one piece as it is.

        Args:
            reply_bytes: Its size, which costs nothing to know where it was received; None when nobody knows.
            entries: Of all its streams.
        """
        if not entries or reply_bytes is None or reply_bytes > self._most_bytes:
            return False
        self._saw(reply_bytes / entries)
        return True

    def together(self, streams: Sequence[S]) -> list[S]:
        """Return the streams to read at once: all, or some in turn when one entry of each would be too much."""
        most = max(1, int(self._most_bytes * _MOST_PIECES / (self._entry_bytes or 1)))
        if len(streams) <= most:
            return list(streams)
        first = self._turn = self._turn % len(streams)
        self._turn += most
        return [*streams[first:], *streams[:first]][:most]

    def shrink(self, error: BaseException) -> None:
        """Ask for much less after a read that failed, since entries may have become too large for it."""
        if self._count > 1:
            self._count = max(1, self._count // _SHRINKAGE)
        elif isinstance(error, ReplyTooLarge):
            self._entry_bytes = min(max(2 * self._entry_bytes, self._most_bytes), self._most_bytes * _MOST_PIECES)

    def pieces(self, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        """Take note of entries that were read, and yield them in pieces of bounded size."""
        size = sum(map(len, chain.from_iterable(fields for _, fields in entries)))
        self._saw(size / len(entries) + _FRAME_BYTES)
        if size <= self._most_bytes:
            yield entries
            return
        start, size = 0, 0
        for index, (_, fields) in enumerate(entries):
            length = sum(map(len, fields))
            if size + length > self._most_bytes and index > start:
                yield entries[start:index]
                start, size = index, 0
            size += length
        yield entries[start:]

    def _saw(self, entry_bytes: float) -> None:
        self._entry_bytes = max(entry_bytes, self._entry_bytes * _MEMORY)
        fitting = int(self._most_bytes / self._entry_bytes)
        self._count = max(1, min(self._most_entries, fitting, self._count * _GROWTH))
