"""Counting what each client holds, up to a bound."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tally:
    """Counts by key; a key that holds nothing takes no memory.

    Args:
        most: What one key may hold.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, int] = {}

    def is_full(self, key: str) -> bool:
        """Tell whether a key holds as much as it may."""
        return self._held.get(key, 0) >= self._most

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Count one more for the time of the block."""
        self._held[key] = self._held.get(key, 0) + 1
        try:
            yield
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
