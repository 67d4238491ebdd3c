"""Sorting positions by event, remembering them, and joining their frames."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, strategies as st

from faust_redis.redis.replies import BEFORE_ALL, EntryId
from telemetry_app.live.delivery.fanout import Passed, frames, group
from telemetry_app.live.positions.history import KEPT_S, History
from telemetry_app.records.position import Position
from tests.live.harness import Entries
from tests.support import records

ENTRIES = Entries({"7": ["a", "b"], "8": ["b"]})


def position(device: str, ts_ms: int) -> Position:
    taken = datetime.fromtimestamp(ts_ms / 1000, UTC)
    # Short frames: a length of one byte.
    return records.position(device_id=device, ts=taken, latitude=41.0, longitude=21.0)


def passed(history: History, *given: tuple[str, int], first_id: int = 1, now: float = 100.0) -> Passed:
    decoded = [(position(device, ts_ms), b"%d-0" % (first_id + n)) for n, (device, ts_ms) in enumerate(given)]
    return group(decoded, ENTRIES.events_of, history, partition=0, tail="", now=now)


def seen(sightings: list[Any]) -> list[tuple[str, int]]:
    return [(sighting.device_id, sighting.ts_ms) for sighting in sightings]


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
    history.learn({"a": 10})
    history.learn({"a": 4})
    result = passed(history, ("a", 10), ("a", 11))
    assert (seen(result.by_event["7"]), result.late) == ([("a", 11)], 1)


def test_frames_are_joined_once() -> None:
    """The frames of a topic are one piece of bytes, each frame with its own cursor."""
    found = passed(History(), ("a", 1), ("b", 2)).by_event["7"]
    joined = frames("event:7", found)
    first = json.loads(joined[2 : 2 + joined[1]])
    assert (first["topic"], first["deviceId"], first["cursor"]) == ("event:7", "a", "1-0")
    assert joined.count(b'"type":"position"') == 2


def test_the_history_keeps_the_newest_for_ever_and_the_others_for_a_while() -> None:
    """Of each device the last seconds are there, and at least the newest position."""
    history = History()
    passed(history, ("a", 1), ("b", 1), now=100.0)
    passed(history, ("a", 2), first_id=10, now=101.0)
    passed(history, ("a", 3), first_id=20, now=101.0 + KEPT_S)
    assert seen(history.newer(["a", "b"], {}, since=0.0)) == [("b", 1), ("a", 2), ("a", 3)]
    assert seen(history.newer(["a", "b"], {}, since=102.0)) == [("b", 1), ("a", 3)]
    assert seen(history.newer(["a", "b"], {"a": 2, "b": 1}, since=101.0)) == [("a", 3)]
    for number in range(1000):
        passed(history, ("a", 10 + number), first_id=30 + number, now=200.0)
    assert len(history._recent["a"]) == 256


def test_missed_and_after() -> None:
    """The newest position of each device after a cursor, or after a number, in the order in which they came."""
    history = History()
    passed(history, ("a", 1), ("b", 2), ("a", 3), ("b", 1))
    assert seen(history.missed(["a", "b"], (EntryId(2, 0),))) == [("a", 3)]
    assert seen(history.missed(["b", "a"], (EntryId(1, 0),))) == [("b", 2), ("a", 3)]
    assert seen(history.after(["a", "b"], 2)) == [("a", 3)]
    assert history.after(["a", "b"], 3) == []


def test_positions_from_before() -> None:
    """Positions read again are put before those that passed, by the same rule: never back in time."""
    earlier, history = History(), History()
    before = [msgspec.structs.replace(s, seq=0) for s in passed(earlier, ("a", 4), ("b", 9)).by_event["7"]]
    passed(history, ("a", 5), ("b", 3), first_id=100)
    history.prepend(before)
    assert seen(history.newer(["a", "b"], {}, since=0.0)) == [("a", 4), ("b", 9), ("a", 5)]
    assert history.known_ms("b") == 9
    assert seen(history.missed(["a", "b"], (BEFORE_ALL,))) == [("b", 9), ("a", 5)]


def test_what_came_late_is_not_missed() -> None:
    """A position older than what the database is known to have is given to nobody who comes back."""
    history = History()
    passed(history, ("a", 5), ("b", 5))
    history.learn({"a": 10, "b": 5})
    assert seen(history.missed(["a", "b"], (BEFORE_ALL,))) == [("b", 5)]


def test_devices_without_event_are_forgotten() -> None:
    """Nothing is kept of a device that has left its last event."""
    history = History()
    passed(history, ("a", 1), ("b", 1))
    history.forget_unless(lambda device_id: device_id == "b")
    assert (len(history), history.known_ms("a"), history.known_ms("b")) == (1, None, 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), max_size=60))
def test_nothing_goes_back_in_time(given: list[tuple[str, int]]) -> None:
    """Whatever arrives, each device's positions rise strictly, and every one is sent, late or an orphan."""
    result = passed(History(), *given)
    sent = result.by_event.get("7", [])
    for device in "ab":
        times = [sighting.ts_ms for sighting in sent if sighting.device_id == device]
        assert times == sorted(set(times))
    assert len(sent) + result.late + result.orphans == len(given)
