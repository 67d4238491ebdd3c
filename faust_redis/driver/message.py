"""The message that carries a batch through Faust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faust.types.tuples import ConsumerMessage
from mode.utils.futures import notify

if TYPE_CHECKING:
    from collections.abc import Callable

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
        """Let Faust forget the message without settling its batch, whose entries stay pending."""
        self._acked = True
        self.flight.given_up = True
        self._consumer.unacked.discard(self)
        notify(getattr(self._consumer, "_waiting_for_ack", None))
