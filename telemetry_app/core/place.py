"""The place that a batch has among those being written, which it gives up when it is in trouble."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

#: Most batches in trouble at a time, beside those being written: each is kept in memory.
MOST_IN_TROUBLE: Final = 8


class Places:
    """Places for batches being written, and a few for those in trouble.

    Args:
        free: As many as batches may be written at the same time.
    """

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self.in_trouble = 0

    async def take(self) -> Place:
        """Wait for a place."""
        await self._free.acquire()
        return Place(self)

    def exchange(self) -> bool:
        """Free the place of a batch that is in trouble; False when too many are."""
        if self.in_trouble >= MOST_IN_TROUBLE:
            return False
        self.in_trouble += 1
        self._free.release()
        return True

    def give_back(self, *, in_trouble: bool) -> None:
        """Free the place of a batch that is done, or count one less in trouble."""
        if in_trouble:
            self.in_trouble -= 1
        else:
            self._free.release()


class Place:
    """One batch's place; in the context of whatever writes it (`give_up_place`)."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._in_trouble = False

    def hold(self) -> None:
        """Let what this task and those it starts give up be this place."""
        _held.set(self)

    def give_up(self) -> None:
        """Let another batch be written instead, unless too many are in trouble already."""
        if not self._in_trouble:
            self._in_trouble = self._places.exchange()

    def give_back(self) -> None:
        """End the batch's stay."""
        self._places.give_back(in_trouble=self._in_trouble)


_held: ContextVar[Place | None] = ContextVar("place", default=None)


def give_up_place() -> None:
    """Let another batch be written in place of the current one, which is in trouble and goes on beside it.

    For sinks: whatever waits for one batch alone, and not for the whole database, should not hold the others up.
    """
    if place := _held.get():
        place.give_up()
