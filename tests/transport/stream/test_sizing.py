"""Reads and batches are bounded in bytes, whatever the entries."""

from hypothesis import given, strategies as st

from faust_redis.redis.errors import ReplyTooLarge
from faust_redis.redis.replies import Entry
from faust_redis.stream.sizing import ReadSize

MB = 1 << 20


def entries(count: int, size: int, first: int = 0) -> list[Entry]:
    return [(b"%d-1" % (first + number), [b"payload", b"x" * size]) for number in range(count)]


@given(st.lists(st.integers(0, 3000), min_size=1), st.integers(100, 5000))
def test_pieces_are_bounded_and_in_order(sizes: list[int], most_bytes: int) -> None:
    """Together they are what was read; only a single entry may be larger than a piece."""
    read: list[Entry] = [(b"%d-1" % n, [b"x" * size]) for n, size in enumerate(sizes)]
    pieces = list(ReadSize(1000, most_bytes).pieces(read))
    assert [entry for piece in pieces for entry in piece] == read
    assert all(len(piece) == 1 or sum(len(fields[0]) for _, fields in piece) <= most_bytes for piece in pieces)


def test_usual_entries_are_read_by_the_thousand_from_the_second_read_on() -> None:
    """Their size is known after one read; what was read stays one piece."""
    size = ReadSize(1000, 2 * MB)
    assert size.count() == 256
    assert len(list(size.pieces(entries(256, 490)))) == 1
    assert (size.count(), size.count(4)) == (1000, 1000)


def test_large_entries_are_read_few_at_a_time() -> None:
    """At once, and small ones after them are not believed in at once."""
    size = ReadSize(1000, 2 * MB)
    list(size.pieces(entries(256, 490)))
    list(size.pieces(entries(100, 65_536)))
    assert size.count() == 31
    list(size.pieces(entries(31, 490)))
    assert 31 < size.count() < 50
    for _ in range(40):
        list(size.pieces(entries(10, 490)))
    assert size.count() == 1000


def test_an_entry_larger_than_a_read_is_read_alone() -> None:
    """It has to be read at some time."""
    size = ReadSize(1000, MB)
    assert len(list(size.pieces(entries(2, 3 * MB)))) == 2
    assert (size.count(), size.count(64)) == (1, 1)


def test_a_reply_of_known_size_is_not_measured_again() -> None:
    """One that is small enough is a piece as it is; what it says of the entries' size counts for the next read."""
    size = ReadSize(1000, MB)
    assert size.fits(MB, 16)
    assert size.count() == 16
    assert not size.fits(MB + 1, 16)
    assert not size.fits(None, 16)
    assert not size.fits(0, 0)


def test_after_a_failed_read_few_entries_are_asked_for() -> None:
    """It may have failed because of their size; when it did not, a few reads bring back the usual number."""
    size = ReadSize(1000, 2 * MB)
    list(size.pieces(entries(256, 490)))
    for expected in (125, 15, 1, 1):
        size.shrink(TimeoutError())
        assert size.count() == expected
    counts = []
    for _ in range(5):
        list(size.pieces(entries(1, 490)))
        counts.append(size.count())
    assert counts == [4, 16, 64, 256, 1000]


def test_streams_are_read_in_turn_when_one_entry_of_each_is_too_much() -> None:
    """Usual entries are read of all streams at once; of huge ones each stream has its turn."""
    size = ReadSize(1000, MB)
    streams = list(range(10))
    list(size.pieces(entries(100, 490)))
    assert size.together(streams) == streams
    list(size.pieces(entries(1, MB)))
    assert [size.together(streams) for _ in range(6)] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [0, 1]]
    while size.together(streams) != streams:
        list(size.pieces(entries(10, 490)))


def test_streams_are_read_one_by_one_when_even_few_are_too_much() -> None:
    """Of entries that were never seen the reader only knows that one of each stream is more than it takes."""
    size = ReadSize(1000, MB)
    for _ in range(6):
        size.shrink(ReplyTooLarge())
    assert len(size.together(list(range(10)))) == 1
