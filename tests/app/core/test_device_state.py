"""Folding positions into device states."""

from datetime import timedelta

import msgspec
from hypothesis import given, strategies as st

from faust_redis.redis.replies import EntryId
from telemetry_app.core import device_state
from telemetry_app.core.device_state import DeviceState
from telemetry_app.records.position import Position
from tests.support import records
from tests.support.records import FIRST_TS

FIRST = EntryId(1_700_000_000_000, 0)


def position(device_id: str = "a", second: int = 0, speed: float = 0.0) -> Position:
    return records.position(second, device_id=device_id, speed=speed)


def fold(states: dict[str, DeviceState], positions: list[Position], first_id: EntryId) -> dict[str, DeviceState]:
    """Fold with decoded states in and out."""
    known = {device_id: msgspec.msgpack.encode(state) for device_id, state in states.items()}
    changes = device_state.fold(known, positions, first_id)
    return {device_id: msgspec.msgpack.decode(state, type=DeviceState) for device_id, state in changes.items()}


def test_the_greatest_timestamp_wins_whatever_the_order() -> None:
    """Newest-first packets and late records never move a device back."""
    states = fold({}, [position(second=5, speed=50), position(second=3, speed=30)], FIRST)
    states = fold(states, [position(second=4, speed=40)], FIRST)
    assert (states["a"].last_seen, states["a"].speed) == (FIRST_TS + timedelta(seconds=5), 50)


def test_every_position_counts() -> None:
    """Late and resent records are counted too."""
    states = fold({}, [position(second=5), position(second=5), position(second=1)], FIRST)
    states = fold(states, [position(second=0)], FIRST)
    assert states["a"].count == 4


def test_of_two_records_with_one_timestamp_the_first_stays() -> None:
    """A resent record changes nothing but the count."""
    states = fold({}, [position(second=1, speed=1)], FIRST)
    states = fold(states, [position(second=1, speed=2)], FIRST)
    assert states["a"].speed == 1


def test_folding_leaves_the_old_states_alone() -> None:
    """Only the changes are returned."""
    states = fold({}, [position("a"), position("b")], FIRST)
    changes = fold(states, [position("b", second=1)], FIRST)
    assert (set(changes), states["b"].count, changes["b"].count) == ({"b"}, 1, 2)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=40),
    st.lists(st.integers(1, 10), min_size=1, max_size=10),
)
def test_batching_does_not_matter(records: list[tuple[str, int]], sizes: list[int]) -> None:
    """However the records are cut into batches, the states are those of one big batch."""
    positions = [position(device, second, speed=number) for number, (device, second) in enumerate(records)]
    states: dict[str, DeviceState] = {}
    rest = positions
    while rest:
        size = sizes[len(rest) % len(sizes)]
        batch, rest = rest[:size], rest[size:]
        states |= fold(states, batch, FIRST)
    whole = fold({}, positions, FIRST)
    assert {d: (s.count, s.last_seen, s.speed) for d, s in states.items()} == {
        d: (s.count, s.last_seen, s.speed) for d, s in whole.items()
    }
