"""Folding positions into device states."""

from datetime import timedelta

import msgspec
from hypothesis import given, strategies as st

from faust_redis.redis.replies import EntryId
from telemetry_app.core import device_state
from telemetry_app.core.device_state import DeviceState
from telemetry_app.records.position import Position
from telemetry_app.records.quality import NEVER, Doubted, epoch_ms
from tests.support import records
from tests.support.records import FIRST_TS

FIRST, AFTER = EntryId(1_800_000_000_000, 0), EntryId(1_800_000_000_000, 1)


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


def doubted(second: int, appended: int, fault: str | None = None, speed: float = 0.0) -> Position:
    """Return a position of `second` that was appended at second `appended`."""
    plain = msgspec.structs.asdict(position(second=second, speed=speed))
    return Doubted(**plain, appended_ms=epoch_ms(FIRST_TS) + 1000 * appended, fault=fault)


def test_what_is_faulty_is_counted_and_never_last_seen() -> None:
    """A device whose positions are all faulty was never seen; its first good one is where it is."""
    states = fold({}, [doubted(90_000, 1, "ahead", speed=9), doubted(2, 2, "null-island")], FIRST)
    assert (states["a"].last_seen, states["a"].count, states["a"].speed) == (NEVER, 2, 0)
    states = fold(states, [position(second=3, speed=30), doubted(90_001, 4, "ahead")], FIRST)
    states = fold(states, [doubted(90_002, 5, "ahead")], FIRST)
    assert (states["a"].last_seen, states["a"].count, states["a"].speed) == (FIRST_TS + timedelta(seconds=3), 5, 30)


def test_a_clock_that_is_ahead_is_followed_and_so_is_one_that_is_set_right() -> None:
    """What is newest is decided by the smaller of timestamp and append."""
    states = fold({}, [doubted(200, 1, speed=1), doubted(201, 2, speed=2)], FIRST)
    assert (states["a"].last_seen, states["a"].speed) == (FIRST_TS + timedelta(seconds=2), 2)
    states = fold(states, [position(second=3, speed=3)], FIRST)
    assert (states["a"].last_seen, states["a"].speed) == (FIRST_TS + timedelta(seconds=3), 3)


def test_a_state_of_an_earlier_release_that_is_still_to_come_is_replaced() -> None:
    """The next good position is where the device is; a faulty one changes nothing but the count."""
    ahead = FIRST_TS + timedelta(hours=23)
    before = EntryId(epoch_ms(FIRST_TS), 0)
    states = {"a": DeviceState(ahead, 7, 1, 2, 3, 4, 5, 6, before)}
    now = EntryId(epoch_ms(FIRST_TS) + 2000, 0)
    assert fold(states, [doubted(90_000, 2, "ahead")], now)["a"].last_seen == ahead
    state = fold(states, [position(second=1, speed=33)], now)["a"]
    assert (state.last_seen, state.count, state.speed) == (FIRST_TS + timedelta(seconds=1), 8, 33)


def test_an_entry_delivered_again_moves_nothing_back() -> None:
    """A batch from before the state's own is late, however new the state is."""
    after = EntryId(epoch_ms(FIRST_TS) + 9000, 0)
    states = fold({}, [position(second=8, speed=8)], after)
    assert fold(states, [position(second=1, speed=1)], EntryId(epoch_ms(FIRST_TS) + 2000, 0))["a"].speed == 8


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


def test_two_states_of_a_device_become_one() -> None:
    """What two partitions have counted is added up, and the last position of both stays the last."""
    one, other, whole = (
        device_state.fold({}, [position(second=second) for second in seconds], first_id)["a"]
        for seconds, first_id in [((0, 5), FIRST), ((2, 3, 4), AFTER), ((0, 5, 2, 3, 4), AFTER)]
    )
    assert device_state.combine(one, other) == device_state.combine(other, one) == whole
