"""Which batches are in flight, and which of them may be committed."""

from hypothesis import given, strategies as st

from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.ledger import MOST_HELD_UP, Ledger


def batch(*ids: str) -> RecordBatch:
    return RecordBatch("s", [(entry_id.encode(), [b"payload", b"x"]) for entry_id in ids])


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
    ledger.start_over()
    assert ledger.entry_ids() == set()
    assert (ledger.watermark, ledger.committed, ledger.next_offset) == (2, 2, 2)
    assert ledger.register(batch()).offset not in before


def test_a_batch_forgotten_twice_takes_no_other_with_it() -> None:
    """Forgetting a batch that a reset has dropped leaves the batches after it alone."""
    ledger = Ledger()
    old = ledger.register(batch("1-1"))
    ledger.start_over()
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


def test_a_settled_batch_stays_until_its_commit_is_known() -> None:
    """Starting over keeps the oldest batches as far as they are settled; the first that is not goes, with all later."""
    ledger = Ledger()
    flights = [ledger.register(batch(f"{number}-1")) for number in range(4)]
    for number in (0, 1, 3):
        flights[number].settled = True
    ledger.start_over()
    assert ledger.entry_ids() == {b"0-1", b"1-1"}
    assert [flight.dropped for flight in flights] == [False, False, True, True]
    assert (ledger.committed, ledger.watermark) == (0, 4)


def test_changes_are_steps_from_version_to_version() -> None:
    """Each batch that changes a table goes from the version before to one of its own; a table has its own versions."""
    ledger = Ledger("token")
    ledger.versions.loaded("t", b"41 someone else/7")
    first, second = ledger.register(batch()), ledger.register(batch())
    first.note("t", {"a": b"1"})
    second.note("t", {"a": b"2"})
    first.note("t", {"b": b"1"})
    first.note("u", {"c": b"1"})
    assert first.changes == {"t": {"a": b"1", "b": b"1"}, "u": {"c": b"1"}}
    assert first.steps == {"t": (b"41 someone else/7", b"42 token/0"), "u": (b"", b"1 token/0")}
    assert second.steps == {"t": (b"42 token/0", b"43 token/1")}


def test_memory_ahead_of_what_will_be_stored_is_noticed() -> None:
    """When a batch is dropped that had changed a table, that table must be loaded again; others need not."""
    ledger = Ledger("token")
    for table in ("t", "u"):
        ledger.versions.loaded(table, b"")
    stored, waiting, dropped = (ledger.register(batch()) for _ in range(3))
    for flight in (stored, waiting):
        flight.note("t", {"a": b"1"})
        flight.note("u", {"a": b"1"})
        flight.settled = True
    dropped.note("t", {"a": b"2"})
    ledger.stored(stored)
    ledger.start_over()
    assert ledger.versions.parted == {"t"}
    ledger.versions.loaded("t", b"2 token/1")
    assert ledger.versions.parted == set()


def test_nothing_parts_when_all_is_stored() -> None:
    """When every batch that changed a table is stored, starting over asks for no load."""
    ledger = Ledger("token")
    flight = ledger.register(batch())
    flight.note("t", {"a": b"1"})
    flight.settled = True
    ledger.stored(flight)
    ledger.register(batch())
    ledger.start_over()
    assert not ledger.versions.parted
    assert not ledger.versions.must_load("t")
    assert ledger.versions.must_load("never loaded")


def test_a_partition_is_held_up_when_much_is_settled_behind_an_older_batch() -> None:
    """What waits keeps its ids and what is refused, no payloads; once the older ones are stored nothing is held up."""
    ledger = Ledger()
    oldest = ledger.register(batch("1-1"))
    behind = [ledger.register(batch(f"{n}-1", f"{n}-2")) for n in range(2, 2 + MOST_HELD_UP)]
    for flight in behind[:-1]:
        flight.settled = True
    assert not ledger.is_held_up()
    behind[-1].batch.bury(b"9-2", "database", "no")
    behind[-1].settled = True
    assert ledger.is_held_up()
    assert list(behind[0].batch) == [(b"2-1", []), (b"2-2", [])]
    assert list(behind[-1].batch) == [(b"9-1", []), (b"9-2", [b"payload", b"x"])]
    assert list(oldest.batch) == [(b"1-1", [b"payload", b"x"])]
    oldest.settled = True
    assert ledger.is_held_up()
    ledger.stored(oldest)
    ledger.stored(behind[0])
    assert not ledger.is_held_up()


def test_a_partition_is_held_up_when_commits_are_slower_than_reads() -> None:
    """Settled batches that have not had their turn count too."""
    ledger = Ledger()
    for _ in range(MOST_HELD_UP):
        assert not ledger.is_held_up()
        ledger.register(batch("1-1")).settled = True
    assert ledger.is_held_up()


def test_batches_that_are_written_hold_nothing_up() -> None:
    """Only what is settled and not committed counts."""
    ledger = Ledger()
    for _ in range(3 * MOST_HELD_UP):
        ledger.register(batch())
    assert not ledger.is_held_up()
