"""Batches as the transport delivers them, and what becomes of them."""

import msgspec

from faust_redis import RecordBatch
from tests.support.records import record


class RecordedDelivery:
    """The way back of one batch, which remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def settle(self) -> None:
        self.said.append("settled")

    def give_up(self) -> None:
        self.said.append("given up")


def entry(**changes: object) -> list[bytes]:
    """Return the fields of a stream entry, as tcp-ingestion appends it; a change to `...` leaves a field out."""
    return [b"codec", b"8E", b"payload", msgspec.json.encode(record(**changes))]


def batch_of(*entries: list[bytes]) -> tuple[RecordBatch, RecordedDelivery]:
    """Return a batch and the record of its delivery; entry ids count from `1700000000000-0`."""
    numbered = [(b"1700000000000-%d" % number, fields) for number, fields in enumerate(entries)]
    delivery = RecordedDelivery()
    return RecordBatch("s", numbered, delivery=delivery), delivery
