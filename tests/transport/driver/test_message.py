"""How a message settles its batch, or does not."""

import weakref
from collections import defaultdict
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import pytest
from faust.types import TP

from faust_redis.driver.channel import BatchSchema
from faust_redis.driver.message import BatchMessage
from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.ledger import InFlight, Ledger


def batch(*ids: str) -> RecordBatch:
    return RecordBatch("s", [(entry_id.encode(), [b"payload", b"x"]) for entry_id in ids])


def message_of(flight: InFlight, settled: list[int], consumer: Any = None) -> BatchMessage:
    return BatchMessage(
        "s", 0, flight.offset, 0.0, 1, None, None, flight.batch, None, 0, 0, TP("s", 0),
        flight=flight, consumer=consumer, on_settled=lambda: settled.append(flight.offset),
    )  # fmt: skip


def test_acknowledged_message_settles_its_batch() -> None:
    """A message that a stream took up and acknowledged settles its batch and says so."""
    flight, settled = Ledger().register(batch()), []  # type: tuple[InFlight, list[int]]
    message = message_of(flight, settled)
    message.tracked = True
    message.acked = True
    assert (flight.settled, settled, message.acked) == (True, [0], True)


def test_skipped_message_does_not_settle_its_batch() -> None:
    """A message that a stream skipped is acknowledged by Faust without being tracked: its batch is not settled."""
    flight, settled = Ledger().register(batch()), []  # type: tuple[InFlight, list[int]]
    message = message_of(flight, settled)
    message.acked = True
    assert (flight.settled, settled, message.acked) == (False, [], True)


@pytest.mark.parametrize("compiled", [True, False])
def test_both_of_fausts_ways_to_acknowledge(*, compiled: bool) -> None:
    """The compiled iterator and `Message.ack` settle a tracked message and leave a skipped one alone."""
    from faust._cython.streams import StreamIterator  # type: ignore[import-not-found]  # noqa: PLC0415 - the compiled one, which has no types
    from faust.transport.consumer import Consumer  # noqa: PLC0415 - beside the other

    for tracked in (True, False):
        flight, settled = Ledger().register(batch()), []  # type: tuple[InFlight, list[int]]
        message = message_of(flight, settled)
        message.tracked = tracked
        message.incref(1)
        consumer = MagicMock(
            _committed_offset=defaultdict(lambda: None), _acked_index=defaultdict(set), _acked=defaultdict(list)
        )
        consumer._n_acked = 0
        consumer.ack = partial(Consumer.ack, consumer)
        if compiled:
            iterator = StreamIterator.__new__(StreamIterator)
            iterator.consumer = consumer
            iterator.unacked = iterator.stream = iterator.acks_enabled_for = MagicMock()
            iterator.on_stream_event_out = iterator.on_message_out = MagicMock()
            iterator.after(MagicMock(message=message), True, None)  # noqa: FBT003 - Faust's signature
        else:
            message.ack(consumer)
        assert message.acked
        assert flight.settled is tracked
        assert settled == ([0] if tracked else [])


def test_given_up_message_can_no_longer_be_acknowledged() -> None:
    """A batch that was given up counts as abandoned, and a late acknowledgement does not settle it."""
    flight = Ledger().register(batch())
    message = message_of(flight, [], MagicMock(_waiting_for_ack=None))
    message.tracked = True
    message.incref(1)
    message.give_up()
    message.ack(MagicMock())
    assert (message.acked, flight.settled, flight.abandoned) == (True, False, True)


def test_a_delivered_batch_is_settled_through_its_message() -> None:
    """The batch that a stream gets shares its verdicts with the one in flight, and settling it acknowledges."""
    flight, consumer = Ledger().register(batch("1-1")), MagicMock()
    message = message_of(flight, [], consumer)
    message.tracked = True
    message.incref(1)
    delivered = BatchSchema().loads_value(MagicMock(), message)
    delivered.refuse(b"1-1", "decode", "it is broken")
    delivered.settle()
    consumer.ack.assert_called_once_with(message)
    assert list(flight.batch.refused) == [b"1-1"]


def test_a_batch_nobody_holds_any_more_counts_as_dropped() -> None:
    """Who holds on to the delivered batch keeps its delivery alive; when it is let go, the batch is abandoned."""
    flight = Ledger().register(batch())
    message = message_of(flight, [])
    flight.message = weakref.ref(message)
    delivered = BatchSchema().loads_value(MagicMock(), message)
    del message
    assert not flight.abandoned
    del delivered
    assert flight.abandoned


def test_a_verdict_is_on_an_id_as_the_batch_gives_it() -> None:
    """An id as text would meet no entry, which would be acknowledged as if it had been processed."""
    judged: Any = batch("1-1")
    for judge in (judged.refuse, judged.bury):
        with pytest.raises(TypeError, match="an entry's id is bytes, as the batch gives it, not '1-1'"):
            judge("1-1", "decode", "it is broken")
    assert (judged.refused, judged.buried) == ({}, {})
