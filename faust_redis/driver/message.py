"""The message that carries a batch through Faust, and what becomes of it when its agent raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faust.streams import current_event
from faust.types.tuples import ConsumerMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from faust.types import AgentT, AppT
    from faust.types.transports import ConsumerT

    from faust_redis.stream.ledger import InFlight


class BatchMessage(ConsumerMessage):
    """A Faust message whose acknowledgement settles its batch in the ledger; the `Delivery` of that batch.

    Faust has two code paths that acknowledge, one of them compiled; both set `acked`, and both also do so for a
    message that a stream *skipped* because a rebalance overtook it. Such a message was never tracked, and its batch
    must not be settled: it is read again from the pending entries.
    """

    def __init__(
        self, *args: Any, flight: InFlight, consumer: ConsumerT, on_settled: Callable[[], None], **kwargs: Any
    ) -> None:
        self.flight = flight
        self._consumer = consumer
        self._on_settled = on_settled
        self._acked = False
        super().__init__(*args, **kwargs)

    @property
    def acked(self) -> bool:
        """Whether Faust is done with this message."""
        return self._acked

    @acked.setter
    def acked(self, value: bool) -> None:
        self._acked = value
        if value and self.tracked:
            self.flight.settled = True
            self._on_settled()

    def settle(self) -> None:
        """Acknowledge the message."""
        self.ack(self._consumer)

    def give_up(self) -> None:
        """Let Faust forget the message without settling its batch, whose entries stay pending.

        A stream that has not taken the message yet skips it as one of another generation.
        """
        self._acked = True
        self.generation_id = None
        self.flight.given_up = True
        self._consumer.unacked.discard(self)


class CrashWatch:
    """Gives up the batch that an agent was processing when it raised, so that it is read again.

    Faust tells only the agent's own error handler. Left alone, the batch would be acknowledged when the agent's
    iterator happens to be collected or, without automatic acknowledgement, hold up every later commit and rebalance.
    Waiting for the message to be collected is not enough: the traceback keeps it alive.
    """

    def __init__(self) -> None:
        self._watched: set[str] = set()

    def watch(self, app: AppT) -> None:
        """Put a step before the error handler of every agent that is not watched yet."""
        for name, agent in app.agents.items():
            if name not in self._watched:
                self._watched.add(name)
                self._watch(agent)

    def _watch(self, agent: Any) -> None:
        own_handler = agent._on_error  # noqa: SLF001 - Faust offers no other place to learn of it

        async def on_error(crashed: AgentT[Any], error: BaseException) -> None:
            # The handler runs in the agent's task, where the event that it was processing is the current one.
            event = current_event()
            if event is not None and isinstance(event.message, BatchMessage):
                event.message.give_up()
            if own_handler is not None:
                await own_handler(crashed, error)

        agent._on_error = on_error  # noqa: SLF001 - as above
