"""How batches reach an agent: the schema of topics, and channels that a rebalance leaves alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import faust
from mode.utils.queues import FlowControlEvent, ThrowableQueue

if TYPE_CHECKING:
    from faust.types import AppT, Message

    from faust_redis.driver.message import BatchMessage
    from faust_redis.stream.batch import RecordBatch


class BatchSchema(faust.Schema):  # type: ignore[type-arg]  # keys and values of any type
    """Hands the batch to the stream as it is: entries are decoded by the application, all of a batch at once."""

    def loads_key(self, app: AppT, message: Message, **_: Any) -> Any:  # noqa: ARG002 - Faust's signature
        """Return the message's key."""
        return message.key

    def loads_value(self, app: AppT, message: Message, **_: Any) -> RecordBatch:  # noqa: ARG002 - Faust's signature
        """Return the batch, which is settled or given up through its message."""
        batch = cast("RecordBatch", message.value)
        return batch.delivered_by(cast("BatchMessage", message))


class DrainingChannel(faust.Channel):  # type: ignore[type-arg]  # values of any type
    """In-memory channel from one agent to the next whose queue is neither suspended nor cleared by a rebalance.

    This way, what an agent took from a partition is finished before the partition is given away. Pass values by
    `put`: an event made by `send` carries the generation of its partition and is skipped after a rebalance.
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
