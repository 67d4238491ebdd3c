"""What the transport reports, so that an application can adapt it to its own metrics."""

from __future__ import annotations

from typing import Literal, Protocol

ReadResult = Literal["ok", "empty", "error"]


class Observer(Protocol):
    """Receiver of the transport's facts; every count is the real number at the place where it happened."""

    def read(self, result: ReadResult) -> None:
        """One read of new entries ended."""

    def delivered(self, entries: int) -> None:
        """Entries were handed to the streams."""

    def redelivered(self, entries: int) -> None:
        """Entries that had been delivered before were claimed and are delivered again."""

    def trimmed(self, entries: int) -> None:
        """Entries were gone from the stream before they were processed: lost data."""

    def acknowledged(self, entries: int) -> None:
        """Entries were acknowledged by a commit."""

    def distributed(self, entries: int) -> None:
        """Entries were moved to the partitions of their keys."""

    def undistributed(self, entries: int | None, waited_s: float) -> None:
        """So many entries wait to be moved there, None when nobody knows, and the oldest of them for so long."""

    def distribution_restarted(self) -> None:
        """The stream that is distributed was found to be another one; all of it is distributed."""

    def dead_lettered(self, reason: str, entries: int) -> None:
        """Entries were moved to the dead letters; the reason is a short class of reasons."""

    def partitions_owned(self, partitions: int) -> None:
        """The number of partitions held changed."""

    def standing_by(self, stands_by: bool) -> None:  # noqa: FBT001 - one fact
        """This instance holds no partition since others hold all, or no longer stands by."""

    def partitions_paused(self, partitions: int) -> None:
        """The number of partitions that are held and not read, since most of their entries were refused."""

    def partitions_unreadable(self, partitions: int) -> None:
        """The number of partitions that this instance tried to take in vain, as Redis refuses one of their keys."""

    def lag(self, entries: int | None) -> None:
        """Entries not yet delivered in the partitions held whose lag is known; None when none is."""

    def oldest_unread(self, seconds: float | None) -> None:
        """How long the oldest entry not yet delivered has waited; 0 when there is none, None when nobody knows."""

    def state_size(self, table: str, keys: int) -> None:
        """The number of keys of a table changed."""

    def evicted(self, table: str, keys: int) -> None:
        """Keys were evicted from a bounded table."""

    def state_conflict(self) -> None:
        """A commit was refused, since the stored state is not what it was computed from."""

    def retried(self, operation: str) -> None:
        """An operation on Redis failed and will be tried again."""


class NullObserver:
    """Observer that ignores everything."""

    def read(self, result: ReadResult) -> None:
        """Ignore."""

    def delivered(self, entries: int) -> None:
        """Ignore."""

    def redelivered(self, entries: int) -> None:
        """Ignore."""

    def trimmed(self, entries: int) -> None:
        """Ignore."""

    def acknowledged(self, entries: int) -> None:
        """Ignore."""

    def distributed(self, entries: int) -> None:
        """Ignore."""

    def undistributed(self, entries: int | None, waited_s: float) -> None:
        """Ignore."""

    def distribution_restarted(self) -> None:
        """Ignore."""

    def dead_lettered(self, reason: str, entries: int) -> None:
        """Ignore."""

    def partitions_owned(self, partitions: int) -> None:
        """Ignore."""

    def standing_by(self, stands_by: bool) -> None:  # noqa: FBT001 - as above
        """Ignore."""

    def partitions_paused(self, partitions: int) -> None:
        """Ignore."""

    def partitions_unreadable(self, partitions: int) -> None:
        """Ignore."""

    def lag(self, entries: int | None) -> None:
        """Ignore."""

    def oldest_unread(self, seconds: float | None) -> None:
        """Ignore."""

    def state_size(self, table: str, keys: int) -> None:
        """Ignore."""

    def evicted(self, table: str, keys: int) -> None:
        """Ignore."""

    def state_conflict(self) -> None:
        """Ignore."""

    def retried(self, operation: str) -> None:
        """Ignore."""
