"""What a database has to offer so that every batch goes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from telemetry_app.records.position import Position


class WriteAbandoned(Exception):  # noqa: N818 - not an error: the application stops and the batch stays pending
    """The application is stopping and the database does not take the batch; some of its rows may be stored."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the database cannot hold.

    Args:
        index: Its place in the positions given to `write`.
        reason: Why, in at most 200 characters, led by the column's name where it is known.
    """

    index: int
    reason: str


class Sink(Protocol):
    """A database of positions; a batch is acknowledged when all of them have it."""

    @property
    def name(self) -> str:
        """A word for it in the log and in `processor_dead_letters_total{reason}`."""

    async def write(self, positions: Sequence[Position]) -> Sequence[Refused]:
        """Store positions, each exactly once however often it is given, and return those that cannot be stored.

        A failure that passes is waited for, however long it takes: whoever returns from here has the batch for good.

        Raises:
            WriteAbandoned: The application is stopping and the database does not take the batch.
        """

    async def why_not_ready(self) -> str | None:
        """Return None while the database takes positions, else why it does not."""
