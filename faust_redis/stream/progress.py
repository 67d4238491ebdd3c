"""How far a group has come in a stream, and what was gone from it before anybody read it."""

from __future__ import annotations

from typing import Any, NamedTuple

from faust_redis.redis.replies import BEFORE_ALL, EntryId


class Progress(NamedTuple):
    """A stream and a group of it at one moment.

    Attributes:
        delivered: How many entries of the stream's whole life are not after the group's place; None when Redis does
            not know. Before Redis 7.4 it lacks entries that were trimmed before they were read.
        place: Id of the entry that was delivered last.
        added: How many entries were ever appended.
        length: How many are there.
        first: Id of the first that is there.
        last_deleted: The highest id that was deleted, other than by trimming.
        last_added: Id of the entry that was appended last.
        redis_lag: What Redis takes for the lag; None when it does not know.
        oldest_unread: Id of the first entry after the place; None when there is none.
        now_ms: The server's clock.
        owned: Whether whoever looked had the lease, so that nobody else reads.
    """

    delivered: int | None
    place: EntryId
    added: int
    length: int
    first: EntryId
    last_deleted: EntryId
    last_added: EntryId
    redis_lag: int | None
    oldest_unread: EntryId | None
    now_ms: int
    owned: bool

    @classmethod
    def parse(cls, reply: list[Any]) -> Progress:
        """Return what the script answered."""
        delivered, place, added, length, first, last_deleted, last_added, lag, oldest, now_ms, owned = reply
        return cls(
            delivered, EntryId.parse(place), added, length, EntryId.parse(first), EntryId.parse(last_deleted),
            EntryId.parse(last_added), lag, None if oldest is None else EntryId.parse(oldest), now_ms, bool(owned),
        )  # fmt: skip

    @property
    def overtaken(self) -> bool:
        """Whether nothing is left of what was delivered, so that whatever else is gone was not."""
        return self.oldest_unread is not None and self.place < self.first

    @property
    def lag(self) -> int | None:
        """How many entries wait to be delivered; None when nobody knows."""
        if self.oldest_unread is None:
            return 0
        return self.length if self.overtaken else self.redis_lag

    @property
    def waited_s(self) -> float:
        """How long the oldest of them has waited, in seconds."""
        return 0.0 if self.oldest_unread is None else max(0, self.now_ms - self.oldest_unread.ms) / 1000

    @property
    def past(self) -> int | None:
        """How many entries were delivered or are gone; None while that cannot be told from what may be gone."""
        if self.oldest_unread is None:
            return self.added
        return self.added - self.length if self.overtaken else None

    def has_gaps_after(self, entry_id: EntryId) -> bool:
        """Tell whether entries after this one were trimmed or deleted."""
        if self.added == self.length:
            return False
        return self.length == 0 or self.first > entry_id or self.last_deleted > entry_id


class Lost(NamedTuple):
    """Entries that were gone before they were read.

    Attributes:
        entries: How many; when the stream was replaced at least so many.
        after: The id after which they were.
        until: The id at or before which they were.
        replaced: Whether the whole stream is gone or another one.
    """

    entries: int
    after: EntryId
    until: EntryId
    replaced: bool = False


class Tally:
    """Accounts for every entry of a partition: it was received here, or was gone before anybody read it.

    Redis says how many entries were ever appended and how many are left; whoever counts what it received knows the
    rest. What cannot be told apart with certainty is not counted.

    Attributes:
        current: Whether Redis was looked at since the beginning, or since a read of which nobody knows the outcome.
    """

    def __init__(self) -> None:
        self.current = False
        self._seen: Progress | None = None
        self._received_since_seen = 0
        self._past: int | None = None
        self._place = BEFORE_ALL
        self._received = 0

    def received(self, entries: int) -> None:
        """Count entries of a read of new ones."""
        self._received += entries
        self._received_since_seen += entries

    def interrupt(self) -> None:
        """Begin anew, since entries may have been delivered that did not arrive."""
        self.current, self._past = False, None

    def see(self, now: Progress | None) -> Lost | None:
        """Compare with the look before; None is a stream that is gone. Not while a read is under way."""
        before, waiting = self._seen, self._waiting()
        self._seen, self._received_since_seen, self.current = now, 0, now is not None
        if before is not None and _is_replaced(before, now):
            self._past = None
            return Lost(waiting, before.place, before.last_added, replaced=True)
        if now is None or now.past is None or not now.owned:
            return None
        lost = self._lost(now, now.past)
        self._past, self._place, self._received = now.past, now.place, 0
        return lost

    def _waiting(self) -> int:
        """Return how many entries are known to have waited at the last look and were not received since."""
        lag = self._seen.lag if self._seen else None
        return max(0, (lag or 0) - self._received_since_seen)

    def _lost(self, now: Progress, past: int) -> Lost | None:
        if self._past is not None:
            accounted, after = self._past + self._received, self._place
        elif now.delivered is not None:
            accounted, after = now.delivered, now.place
        else:
            return None
        until = now.first if now.overtaken else now.last_added
        if past <= accounted or not now.has_gaps_after(after):
            # A former owner may have read, too, shortly after it was paused: only what is gone can be lost.
            return None
        return Lost(past - accounted, after, until)


def _is_replaced(before: Progress, now: Progress | None) -> bool:
    if now is None:
        return True
    # After a failover some of the newest entries may be missing, which is another matter.
    begun_anew = now.first > before.last_added or now.place == BEFORE_ALL < before.place
    return now.added < before.added and begun_anew
