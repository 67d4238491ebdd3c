"""What the durable side reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class WriteObserver(Protocol):
    """Receiver of the durable side's facts; every count is the real number at the place where it happened."""

    def undecodable(self, records: int) -> None:
        """Records could not be decoded, and stay pending."""

    def inserted(self, rows: int) -> None:
        """Rows are new in the database."""

    def duplicates(self, rows: int) -> None:
        """Rows were in the database already, with all that they hold."""

    def merged(self, rows: int) -> None:
        """Rows added something to the rows of their device and time that were in the database already."""

    def faulty(self, rows: Sequence[tuple[str, str]]) -> None:
        """Rows that are new in the database are faulty: device and reason of each."""

    def failed(self, rows: int) -> None:
        """Rows are refused by the database."""

    def duration(self, seconds: float) -> None:
        """One statement was answered after this time."""

    def in_trouble(self, batches: int) -> None:
        """So many statements fail now and are tried row by row."""

    def retried(self, reason: str) -> None:
        """An attempt failed in a way that passes; `reason` is the error's type."""
