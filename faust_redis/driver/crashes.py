"""Batches whose agent raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faust.streams import current_event

from faust_redis.driver.message import BatchMessage

if TYPE_CHECKING:
    from faust.types import AgentT, AppT
    from faust.types.transports import ConsumerT


class CrashWatch:
    """Gives up the batch that an agent was processing when it raised, so that it is read again.

    Faust tells only the agent's own error handler. Left alone, the batch would be acknowledged when the agent's
    iterator happens to be collected or, without automatic acknowledgement, hold up every later commit and rebalance.
    Waiting for the message to be collected is not enough: the traceback keeps it alive.
    """

    def __init__(self, consumer: ConsumerT) -> None:
        self._consumer = consumer
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
