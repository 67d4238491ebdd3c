"""What is remembered of positions that passed."""

from __future__ import annotations

import msgspec

from faust_redis.redis.replies import BEFORE_ALL
from telemetry_app.live.positions.history import KEPT_S, History
from tests.app.live.records import entry, live_position, passed, seen


def test_the_history_keeps_the_newest_for_ever_and_the_others_for_a_while() -> None:
    """Of each device the last seconds are there, and at least the newest position."""
    history = History()
    passed(history, ("a", 1), ("b", 1), now=100.0)
    passed(history, ("a", 2), first_id=10, now=101.0)
    passed(history, ("a", 3), first_id=20, now=101.0 + KEPT_S)
    assert seen(history.newer(["a", "b"], {}, since=0.0)) == [("b", 1), ("a", 2), ("a", 3)]
    assert seen(history.newer(["a", "b"], {}, since=102.0)) == [("b", 1), ("a", 3)]
    assert seen(history.newer(["a", "b"], {"a": (2, 2), "b": (1, 1)}, since=101.0)) == [("a", 3)]
    for number in range(1000):
        passed(history, ("a", 10 + number), first_id=30 + number, now=200.0)
    assert len(history._recent["a"]) == 256


def test_missed_and_after() -> None:
    """The newest position of each device after a cursor, or after a number, in the order in which they came."""
    history = History()
    passed(history, ("a", 1), ("b", 2), ("a", 3), ("b", 1))
    assert seen(history.missed(["a", "b"], (entry(2),))) == [("a", 3)]
    assert seen(history.missed(["b", "a"], (entry(1),))) == [("b", 2), ("a", 3)]
    assert seen(history.after(["a", "b"], 2)) == [("a", 3)]
    assert history.after(["a", "b"], 3) == []


def test_positions_from_before() -> None:
    """Positions read again are put before those that passed, by the same rule: never back in time."""
    earlier, history = History(), History()
    before = [msgspec.structs.replace(s, seq=0) for s in passed(earlier, ("a", 4), ("b", 9)).by_event["7"]]
    passed(history, ("a", 5), ("b", 3), first_id=100)
    history.prepend(before)
    assert seen(history.newer(["a", "b"], {}, since=0.0)) == [("a", 4), ("b", 9), ("a", 5)]
    assert history.known("b") == (9, 9)
    assert seen(history.missed(["a", "b"], (BEFORE_ALL,))) == [("b", 9), ("a", 5)]


def test_a_correction_takes_the_place_of_what_passed() -> None:
    """Whoever resumes is given it, from wherever; what is read again from before it does not come back."""
    earlier, history = History(), History()
    before = [msgspec.structs.replace(s, seq=0) for s in passed(earlier, ("a", 8)).by_event["7"]]
    passed(history, ("a", 9), first_id=10)
    history.correct(live_position("a", 4), "10-0", now=101.0)
    history.prepend(before)
    assert history.known("a") == (4, 4)
    assert seen(history.missed(["a"], (entry(500),))) == [("a", 4)]
    assert seen(history.after(["a"], 1)) == [("a", 4)]
    assert seen(passed(history, ("a", 10), first_id=20).by_event["7"]) == [("a", 10)]


def test_what_was_taken_back_does_not_return() -> None:
    """Sent again, or read again for somebody who resumes, it is late, whether or not there is a good position."""
    earlier, history = History(), History()
    before = [msgspec.structs.replace(s, seq=0) for s in passed(earlier, ("a", 9), ("b", 9)).by_event["7"]]
    passed(history, ("a", 9), ("b", 9))
    history.correct(live_position("a", 4), "10-0", now=101.0)
    history.take_back("b")
    history.prepend(before)
    assert passed(history, ("a", 9), ("a", 8), ("b", 9), ("b", 5), first_id=20).late == 4
    assert (history.known("a"), history.known("b")) == ((4, 4), None)
    history.correct(live_position("a", 3), "10-0", now=102.0)
    assert passed(history, ("a", 9), first_id=30).late == 1
    assert seen(passed(history, ("a", 10), ("b", 10), first_id=40).by_event["7"]) == [("a", 10), ("b", 10)]


def test_what_was_taken_back_by_mistake() -> None:
    """Once it is good again it is known, and what is newer is no longer compared with it."""
    history = History()
    passed(history, ("a", 9), ("b", 9))
    history.correct(live_position("a", 4), "10-0", now=101.0)
    history.take_back("b")
    for device_id in ("a", "b"):
        history.correct(live_position(device_id, 9), "10-0", now=102.0)
        assert history.known(device_id) == (9, 9)
    assert history._taken_back == {}


def test_what_came_late_is_not_missed() -> None:
    """A position older than what the database is known to have is given to nobody who comes back."""
    history = History()
    passed(history, ("a", 5), ("b", 5))
    history.learn({"a": (10, 10), "b": (5, 5)})
    assert seen(history.missed(["a", "b"], (BEFORE_ALL,))) == [("b", 5)]


def test_devices_without_event_are_forgotten() -> None:
    """Nothing is kept of a device that has left its last event."""
    history = History()
    passed(history, ("a", 1), ("b", 1))
    history.forget_unless(lambda device_id: device_id == "b")
    assert (len(history), history.known("a"), history.known("b")) == (1, None, (1, 1))
    history.take_back("b")
    history.forget_unless(lambda device_id: device_id == "a")
    assert history._taken_back == {}
