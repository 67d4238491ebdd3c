"""Channels that a rebalance leaves alone."""

from __future__ import annotations

import asyncio
from typing import Any

import faust
from mode.utils.queues import FlowControlEvent, ThrowableQueue


class DrainingChannel(faust.Channel):  # type: ignore[type-arg]  # values of any type
    """In-memory channel from one agent to the next whose queue is neither suspended nor cleared by a rebalance.

    What an agent took from a partition is so finished before the partition is given away. Pass values by `put`:
    an event made by `send` carries the generation of its partition and is skipped after a rebalance.
    """

    @property
    def queue(self) -> ThrowableQueue[Any]:
        """The queue behind this channel, bounded by `maxsize`."""
        if self._queue is None:
            always = FlowControlEvent(initially_suspended=False)
            self._queue = ThrowableQueue(maxsize=self.maxsize or 1, flow_control=always)
        return self._queue

    async def put(self, value: Any) -> None:
        """Hand a value to every subscriber; waits while a queue is full, or for the first subscriber."""
        root = self._root if self._root is not None else self
        while not root._subscribers:  # noqa: SLF001, ASYNC110 - of the same class; only waits at the start
            await asyncio.sleep(0.01)
        for subscriber in list(root._subscribers):  # noqa: SLF001 - of the same class
            await subscriber.queue.put(value)
