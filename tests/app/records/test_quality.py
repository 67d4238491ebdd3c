"""Which positions are faulty, and which are ahead of their append."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, strategies as st

from telemetry_app.records.decoding import DecodedEntries, Positions
from telemetry_app.records.position import Position
from telemetry_app.records.quality import Doubted, any_doubted, epoch_ms, fault_of, good, judged
from tests.support.records import FIRST_TS, position

APPENDED_MS = epoch_ms(FIRST_TS)


def decoded(positions: list[Position], appended_ms: list[int] | None = None) -> DecodedEntries:
    """Return positions as they come from the stream, by default all appended at the time of the first."""
    times = appended_ms or [APPENDED_MS] * len(positions)
    return DecodedEntries(
        Positions(positions, [p.ts.timestamp() for p in positions]),
        [b"%d-%d" % (ms, seq) for seq, ms in enumerate(times)],
        [],
    )


@pytest.mark.parametrize(
    ("ahead_ms", "fault"),
    [(-200_000_000_000, None), (0, None), (299_000, None), (300_000, None), (300_001, "ahead"), (301_000, "ahead")],
)
def test_a_position_too_far_ahead_of_its_append_is_faulty(ahead_ms: int, fault: str | None) -> None:
    """More than the bound, to the millisecond; however far behind is fine."""
    taken = position(ts=FIRST_TS + timedelta(milliseconds=ahead_ms))
    assert fault_of(taken, APPENDED_MS, max_ahead_s=300) == fault


@pytest.mark.parametrize(
    ("latitude", "longitude", "satellites", "fault"),
    [(0, 0, 0, "null-island"), (-0.0, 0, 0, "null-island"), (0, 0, 4, None), (0, 9.5, 0, None), (0.2, 0, 0, None)],
)
def test_null_island_is_where_nobody_is_without_satellites(
    latitude: float, longitude: float, satellites: int, fault: str | None
) -> None:
    """On the equator, on the zero meridian, and at 0/0 with a fix a tracker may be."""
    taken = position(latitude=latitude, longitude=longitude, satellites=satellites)
    assert fault_of(taken, APPENDED_MS, max_ahead_s=300) == fault


def test_positions_in_doubt_say_why() -> None:
    """One that is ahead and good says when it was appended, a faulty one its rule too; the others are as they were."""
    plain, ahead, adrift = position(0), position(200), position(latitude=0, longitude=0, satellites=0)
    result = judged(decoded([plain, ahead, adrift]), max_ahead_s=300)
    assert result == [
        plain,
        Doubted(**msgspec.structs.asdict(ahead), appended_ms=APPENDED_MS, fault=None),
        Doubted(**msgspec.structs.asdict(adrift), appended_ms=APPENDED_MS, fault="null-island"),
    ]
    assert (any_doubted([plain]), any_doubted(result)) == (False, True)
    assert [pair[0] for pair in good(decoded([plain, ahead, adrift]), max_ahead_s=300)] == [plain, ahead]


@given(
    st.lists(
        st.tuples(st.integers(-2000, 400_000), st.integers(0, 50), st.sampled_from([0.0, 41.0]), st.integers(0, 1)),
        max_size=200,
    )
)
def test_looking_at_many_together_misses_nothing(drawn: list[tuple[int, int, float, int]]) -> None:
    """The positions in doubt are those that are when looked at one by one."""
    positions, appended, at_ms = [], [], APPENDED_MS
    for ahead_ms, pause_ms, degrees, satellites in drawn:
        at_ms += pause_ms
        appended.append(at_ms)
        taken = FIRST_TS + timedelta(milliseconds=at_ms - APPENDED_MS + (ahead_ms if ahead_ms < 100 else 0))
        positions.append(position(ts=taken, latitude=degrees, longitude=degrees, satellites=satellites))
    one_by_one = [judged(decoded([p], [ms]), max_ahead_s=300)[0] for p, ms in zip(positions, appended, strict=True)]
    assert judged(decoded(positions, appended), max_ahead_s=300) == one_by_one
