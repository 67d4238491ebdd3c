"""Cursors: how far a client has come, as a short text."""

from __future__ import annotations

import random

from hypothesis import given, strategies as st

from faust_redis.redis.replies import BEFORE_ALL, EntryId
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.protocol import MAX_TEXT

IDS = st.builds(EntryId, st.integers(0, 2**44), st.integers(0, 10_000))


# So many always fit, however far apart they are.
@given(st.lists(IDS, min_size=1, max_size=15), st.data())
def test_cursors_come_back(vector: list[EntryId], data: st.DataObject) -> None:
    """A cursor says exactly how far each stream was when its entry passed."""
    partition = data.draw(st.integers(0, len(vector) - 1))
    entry_id = data.draw(IDS)
    written = cursor.text(partition, str(entry_id), cursor.tail(tuple(vector)))
    assert len(written) <= MAX_TEXT
    assert cursor.parse(written, len(vector)) == cursor.replaced(tuple(vector), partition, entry_id)
    assert cursor.parse(written, len(vector) + 1) is None


@given(st.randoms(use_true_random=True))
def test_cursors_stay_short(chance: random.Random) -> None:
    """With a thousand streams a cursor still fits, and promises nothing that has not passed."""
    vector = tuple(EntryId(chance.getrandbits(chance.randrange(45)), chance.randrange(10_000)) for _ in range(1024))
    written = cursor.of(vector)
    assert len(written) <= MAX_TEXT
    parsed = cursor.parse(written, 1024)
    assert parsed is not None
    assert all(said <= real for said, real in zip(parsed, vector, strict=True))


@given(st.text(max_size=255), st.integers(1, 40))
def test_texts_that_are_no_cursors(text: str, partitions: int) -> None:
    """Any text is a cursor or none; it never raises."""
    parsed = cursor.parse(text, partitions)
    assert parsed is None or len(parsed) == partitions


@given(IDS)
def test_before(entry_id: EntryId) -> None:
    """The id before one is below it, unless there is none."""
    assert cursor.before(entry_id) < entry_id or entry_id == BEFORE_ALL
