"""Which connection is looked at when."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry_app.live.clients.connection import Connection


class Agenda:
    """Connections by the loop time at which they are due: looking at all every time costs more than it finds."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Connection]] = []
        self._numbers = itertools.count()

    def put(self, connection: Connection, at: float) -> None:
        """Have a connection due at a loop time."""
        heapq.heappush(self._entries, (at, next(self._numbers), connection))

    def due(self, now: float) -> Iterator[Connection]:
        """Take out, one by one, the connections that are due by now."""
        while self._entries and self._entries[0][0] <= now:
            yield heapq.heappop(self._entries)[2]
