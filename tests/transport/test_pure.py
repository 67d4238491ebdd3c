"""Parts of the transport that need no server."""

import weakref
from collections import defaultdict
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import pytest
from faust.types import TP
from hypothesis import given, strategies as st
from redis.crc import key_slot
from redis.exceptions import NoScriptError, ResponseError

from faust_redis.driver.channel import BatchSchema
from faust_redis.driver.message import BatchMessage
from faust_redis.redis import keys
from faust_redis.redis.errors import is_busy_group, is_no_group
from faust_redis.redis.replies import EntryId
from faust_redis.redis.retry import Backoff
from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.ledger import InFlight, Ledger


def batch(*ids: str) -> RecordBatch:
    return RecordBatch("s", [(entry_id.encode(), [b"payload", b"x"]) for entry_id in ids])


def message_of(flight: InFlight, settled: list[int], consumer: Any = None) -> BatchMessage:
    return BatchMessage(
        "s", 0, flight.offset, 0.0, 1, None, None, flight.batch, None, 0, 0, TP("s", 0),
        flight=flight, consumer=consumer, on_settled=lambda: settled.append(flight.offset),
    )  # fmt: skip


# --- ledger ---


@given(st.permutations(range(6)), st.integers(0, 6))
def test_watermark_is_the_first_unsettled_offset(order: list[int], settled: int) -> None:
    """Whatever order batches settle in, the watermark is the offset of the oldest one that has not."""
    ledger = Ledger()
    flights = [ledger.register(batch()) for _ in range(6)]
    for offset in order[:settled]:
        flights[offset].settled = True
    assert ledger.watermark == min(order[settled:], default=6)


@given(st.permutations(range(6)))
def test_batches_are_committed_in_order(order: list[int]) -> None:
    """Batches that settle in any order are given out for commit in delivery order, each once."""
    ledger = Ledger()
    flights = [ledger.register(batch()) for _ in range(6)]
    committed = []
    for offset in order:
        flights[offset].settled = True
        for flight in ledger.settled_before(ledger.watermark):
            committed.append(flight.offset)
            ledger.forget(flight)
        assert ledger.committed == ledger.watermark
    assert committed == [0, 1, 2, 3, 4, 5]


def test_commit_stops_at_the_given_offset() -> None:
    """Batches at or after the offset of a commit are not part of it."""
    ledger = Ledger()
    for flight in (ledger.register(batch()), ledger.register(batch())):
        flight.settled = True
    offsets = []
    for flight in ledger.settled_before(1):
        offsets.append(flight.offset)
        ledger.forget(flight)
    assert (offsets, ledger.committed) == ([0], 1)


def test_reset_never_gives_an_offset_again() -> None:
    """After a reset nothing is in flight, and new batches get offsets that no batch had before."""
    ledger = Ledger()
    before = {ledger.register(batch("1-1")).offset, ledger.register(batch("2-1")).offset}
    ledger.reset()
    assert ledger.entry_ids() == set()
    assert (ledger.watermark, ledger.committed, ledger.next_offset) == (2, 2, 2)
    assert ledger.register(batch()).offset not in before


def test_a_batch_forgotten_twice_takes_no_other_with_it() -> None:
    """Forgetting a batch that a reset has dropped leaves the batches after it alone."""
    ledger = Ledger()
    old = ledger.register(batch("1-1"))
    ledger.reset()
    ledger.register(batch("2-1"))
    ledger.forget(old)
    assert ledger.entry_ids() == {b"2-1"}


def test_entry_ids_are_those_in_flight() -> None:
    """The ids in flight are those of every batch that was neither committed nor given up."""
    ledger = Ledger()
    first = ledger.register(batch("1-1", "1-2"))
    ledger.register(batch("2-1"))
    assert ledger.entry_ids() == {b"1-1", b"1-2", b"2-1"}
    ledger.forget(first)
    assert ledger.entry_ids() == {b"2-1"}


def test_dirty_means_uncommitted_changes() -> None:
    """A ledger is dirty while a batch in flight has changed a table."""
    ledger = Ledger()
    flight = ledger.register(batch())
    assert not ledger.dirty
    flight.changes["t"] = {"k": b"1"}
    assert ledger.dirty
    ledger.forget(flight)
    assert not ledger.dirty


# --- messages ---


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


# --- names, ids, errors, waits ---


@given(st.text(st.characters(exclude_characters="{}", codec="utf-8"), min_size=1), st.integers(1, 64))
def test_keys_of_a_partition_share_a_slot(topic: str, partitions: int) -> None:
    """The stream of a partition and everything derived from it lie in one slot of a Redis Cluster."""
    stream = keys.partition_stream(topic, partitions - 1, partitions)
    all_keys = [stream, keys.lease(stream, "g"), keys.state(stream, "g", "t"), keys.dead_letters(stream)]
    assert len({key_slot(key.encode()) for key in all_keys}) == 1
    assert len(set(all_keys)) == 4


def test_one_partition_is_the_stream_of_the_topic() -> None:
    """A topic with one partition is read from the stream of its name, else from `name:p`."""
    assert keys.partition_stream("telemetry:teltonika", 0, 1) == "telemetry:teltonika"
    assert [keys.partition_stream("t", p, 2) for p in range(2)] == ["t:0", "t:1"]


@given(st.tuples(st.integers(0, 2**63), st.integers(0, 2**63)), st.tuples(st.integers(0, 2**63), st.integers(0, 9)))
def test_entry_ids_compare_as_redis_compares(one: tuple[int, int], other: tuple[int, int]) -> None:
    """Entry ids become numbers that order as the server orders the entries, and are written as they were read."""
    raw, text = b"%d-%d" % one, "{}-{}".format(*other)
    assert (EntryId.parse(raw), EntryId.parse(text)) == (one, other)
    assert (EntryId.parse(raw) < EntryId.parse(text)) == (one < other)
    assert (str(EntryId.parse(raw)), str(EntryId.parse(text))) == (raw.decode(), text)


def test_entry_id_without_sequence() -> None:
    """An id without a sequence is the first of its millisecond."""
    assert EntryId.parse(b"1700000000000") == (1_700_000_000_000, 0)


@pytest.mark.parametrize("raw", [b"", "x-1", b"1-x"])
def test_what_is_not_an_entry_id(raw: bytes | str) -> None:
    """What is not an entry id is refused."""
    with pytest.raises(ValueError, match="invalid literal"):
        EntryId.parse(raw)


@given(st.integers(1, 2000))
def test_backoff_grows_within_its_bounds(failures: int) -> None:
    """Waits stay between 30 % of the first and the cap, and a success starts again from the first."""
    backoff = Backoff(first_s=0.05, cap_s=2.0)
    waits = [backoff.next_s() for _ in range(failures)]
    assert all(0.3 * 0.05 <= wait <= 2.0 for wait in waits)
    assert all(0.3 * min(2.0, 0.05 * 2**n) <= wait <= 0.05 * 2**n for n, wait in enumerate(waits[:12]))
    backoff.reset()
    assert backoff.next_s() <= 0.05


@pytest.mark.parametrize(
    ("error", "busy", "gone"),
    [
        (ResponseError("BUSYGROUP Consumer Group name already exists"), True, False),
        (ResponseError("NOGROUP No such key 's' or consumer group 'g'"), False, True),
        (ResponseError("no such key"), False, True),
        (ResponseError("WRONGTYPE Operation against a key"), False, False),
        (NoScriptError("NOSCRIPT No matching script"), False, False),
        (ConnectionError("refused"), False, False),
    ],
)
def test_group_errors_are_told_apart(error: Any, *, busy: bool, gone: bool) -> None:
    """A group that exists, a group that does not, and everything else are told apart."""
    assert (is_busy_group(error), is_no_group(error)) == (busy, gone)
