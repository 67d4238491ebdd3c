"""Writing to many sockets bit by bit, so that nothing else on the event loop waits long for it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry_app.live.clients.connection import Connection

#: How long it may hold the loop: others wait as long, and then have their turn. What is stored at the same time takes
#: a dozen turns, one after the other.
_LONGEST_S: Final = 0.002
#: Writes between two looks at the clock: some tenths of a millisecond.
_WRITES: Final = 32
#: To decide what more clients get is a turn by itself.
_MANY: Final = 2000


class Outbox:
    """Connections for which something is held.

    What each client gets was decided when it was held. Whatever happens to a client before that is written, an answer,
    the end of a subscription or of the connection, comes behind it, as if the whole round had been written at once.
    """

    def __init__(self) -> None:
        self._waiting: deque[Connection] = deque()
        self._tasks: set[asyncio.Task[float]] = set()

    def add(self, connections: Iterable[Connection]) -> None:
        """Have written what is held for some connections."""
        self._waiting.extend(connections)

    def empty_soon(self) -> None:
        """Write everything, beside what the caller goes on to do."""
        if self._waiting:
            task = asyncio.create_task(self.empty(time.thread_time()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def empty(self, since_s: float) -> float:
        """Write everything.

        Args:
            since_s: Processor time of this thread when the round began.

        Returns:
            The processor time that the round took, without the turns of others, in seconds.
        """
        spent_s = 0.0
        had_turn = len(self._waiting) > _MANY
        while True:
            if not had_turn:
                self._write_some()
            had_turn = False
            spent_s += time.thread_time() - since_s
            if not self._waiting:
                return spent_s
            await asyncio.sleep(0)
            since_s = time.thread_time()

    def _write_some(self) -> None:
        waiting, deadline = self._waiting, time.perf_counter() + _LONGEST_S
        while waiting:
            for _ in range(min(_WRITES, len(waiting))):
                waiting.popleft().release()
            if time.perf_counter() > deadline:
                return
