"""Batches as the transport delivers them, and what becomes of them."""

from faust_redis import RecordBatch


class RecordedDelivery:
    """The way back of one batch, which remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def settle(self) -> None:
        self.said.append("settled")

    def give_up(self) -> None:
        self.said.append("given up")


def batch_of(*entries: list[bytes]) -> tuple[RecordBatch, RecordedDelivery]:
    """Return a batch and the record of its delivery; entry ids count from `1800000000000-0`."""
    numbered = [(b"1800000000000-%d" % number, fields) for number, fields in enumerate(entries)]
    delivery = RecordedDelivery()
    return RecordBatch("s", numbered, delivery=delivery), delivery
