"""What was read a moment ago, for all who ask for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from cachetools import TTLCache

from telemetry_app.live.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

T = TypeVar("T")


class Lately(Generic[T]):
    """Reads by the same key once for all who ask meanwhile and for a while after, so that a crowd costs one reading.

    Args:
        most: How much is kept, in what `weight` counts.
        kept_s: For how long.
        weight: What something that was read counts for; 0 = it is not kept.
    """

    def __init__(self, most: int, kept_s: float, weight: Callable[[T], int]) -> None:
        self._weight = weight
        self._reading = Shared[T]()
        self._kept: TTLCache[Hashable, T] = TTLCache(most, kept_s, getsizeof=weight)

    async def get(self, key: Hashable, read: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return what `read()` gives, by whoever's it is."""
        kept = self._kept.get(key)
        return await self._reading.get(key, lambda: self._read(key, read)) if kept is None else kept

    async def _read(self, key: Hashable, read: Callable[[], Coroutine[None, None, T]]) -> T:
        found = await read()
        if self._weight(found):
            self._kept[key] = found
        return found
