"""Sorting positions by event."""

from __future__ import annotations

from hypothesis import given, strategies as st

from telemetry_app.live.positions.history import History
from tests.app.live.records import passed, seen


def test_positions_are_sorted_by_event() -> None:
    """Every event of a device is given its positions, in order; devices without event are orphans."""
    result = passed(History(), ("a", 1), ("b", 2), ("nobody's", 3), ("a", 4))
    assert {event: seen(found) for event, found in result.by_event.items()} == {
        "7": [("a", 1), ("b", 2), ("a", 4)],
        "8": [("b", 2)],
    }
    assert (result.late, result.orphans) == (0, 1)


def test_late_positions_are_left_out() -> None:
    """What is not newer than the newest of its device is late, within a batch and across batches."""
    history = History()
    assert seen(passed(history, ("a", 5), ("a", 3), ("a", 5), ("a", 6)).by_event["7"]) == [("a", 5), ("a", 6)]
    result = passed(history, ("a", 6), ("b", 1), first_id=10)
    assert (seen(result.by_event["7"]), result.late) == ([("b", 1)], 1)


def test_what_the_database_knows_makes_late() -> None:
    """A timestamp learned from the database counts as sent; an older one learned later changes nothing."""
    history = History()
    history.learn({"a": (10, 10)})
    history.learn({"a": (4, 4)})
    result = passed(history, ("a", 10), ("a", 11))
    assert (seen(result.by_event["7"]), result.late) == ([("a", 11)], 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), max_size=60))
def test_nothing_goes_back_in_time(given: list[tuple[str, int]]) -> None:
    """Whatever arrives, each device's positions rise strictly, and every one is sent, late or an orphan."""
    result = passed(History(), *given)
    sent = result.by_event.get("7", [])
    for device in "ab":
        times = [sighting.rank[1] for sighting in sent if sighting.device_id == device]
        assert times == sorted(set(times))
    assert len(sent) + result.late + result.orphans == len(given)
