"""The simulated race: what it contains."""

import itertools
import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from telemetry_app.live.wire.course import fit_course
from telemetry_app.records.codec import CodecError, decode, decode_entry, unpack_attributes
from telemetry_app.tools.simulation.awkward import PERIOD_TICKS
from telemetry_app.tools.simulation.backlog import RecordKind, bench_records
from telemetry_app.tools.simulation.event import course, rider
from telemetry_app.tools.simulation.imei import imei
from telemetry_app.tools.simulation.race import Race
from telemetry_app.tools.simulation.record import Kind, Record, iso_ms
from telemetry_app.tools.simulation.track import Track

START = datetime(2026, 5, 2, 12, tzinfo=UTC)
LATEST = START + timedelta(days=1)
SKOPJE = (41.99, 21.43)


def race(devices: int = 40, hz: float = 1.0, seed: int = 1) -> Race:
    return Race(devices, hz, seed=seed, start=START)


def ticks(of: Race, count: int) -> list[Record]:
    return [record for _ in range(count) for record in of.tick()]


def luhn_holds(number: str) -> bool:
    """Luhn's formula as the standard words it: every second digit from the right, doubled, its digits added up."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(map(int, str(2 * digit))) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def test_imeis_are_valid_and_distinct() -> None:
    """15 digits with a right check digit; a known number has the known one."""
    numbers = [imei(number) for number in range(2000)]
    assert imei(244101) == "356307042441013"
    assert len(set(numbers)) == 2000
    assert [n for n in numbers if not (len(n) == 15 and n.isdigit() and luhn_holds(n))] == []


def test_a_race_repeats_itself() -> None:
    """The same arguments give the same records, another seed gives others."""
    assert ticks(race(), 50) == ticks(race(), 50)
    assert ticks(race(seed=2), 50) != ticks(race(), 50)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twenty_seconds_hold_some_of_every_kind(seed: int) -> None:
    """40 devices at 1 Hz, with either order of an upload and either way of having no fix."""
    records = ticks(race(seed=seed), 20)
    assert set(Counter(record.kind for record in records)) == set(Kind) - {Kind.BACKLOG}
    late = [pair for pair in pairwise(records) if {r.kind for r in pair} == {Kind.LATE} and pair[0][0] == pair[1][0]]
    assert {first.ts < second.ts for first, second in late} == {True, False}
    blind = [json.loads(record.payload) for record in records if record.kind is Kind.NO_FIX]
    assert {(b["latitude"], b["longitude"]) == (0, 0) for b in blind} == {True, False}
    assert {(b["satellites"], b["speed"], b["angle"]) for b in blind} == {(0, 0, 0)}


@pytest.mark.parametrize("devices", [7, 40, 600])
def test_each_awkward_kind_has_its_share(devices: int) -> None:
    """One to three percent of the traffic each, however many devices there are."""
    records = ticks(race(devices), 2 * PERIOD_TICKS if devices < 100 else PERIOD_TICKS // 2)
    kinds = Counter(record.kind for record in records)
    shares = {kind: kinds[kind] / len(records) for kind in (Kind.LATE, Kind.RESENT, Kind.NO_FIX, Kind.CLOCK_AHEAD)}
    assert {kind: share for kind, share in shares.items() if not 0.005 < share < 0.03} == {}


def test_only_clocks_ahead_are_refused() -> None:
    """Every other record decodes to the device and the time that its entry says."""
    for record in ticks(race(), PERIOD_TICKS):
        if record.kind is Kind.CLOCK_AHEAD:
            with pytest.raises(CodecError, match=r"^timestamp: "):
                decode(record.payload, latest=LATEST)
        else:
            position = decode(record.payload, latest=LATEST)
            assert (position.device_id, position.ts) == (record.device_id, record.ts)


def test_only_resent_records_are_duplicates() -> None:
    """Every resent record was sent before, byte for byte; every other has a device and time of its own."""
    sent: dict[tuple[str, datetime], bytes] = {}
    for record in ticks(race(), PERIOD_TICKS):
        key = (record.device_id, record.ts)
        if record.kind is Kind.RESENT:
            assert sent[key] == record.payload
        elif record.kind is not Kind.CLOCK_AHEAD:
            assert key not in sent
        sent[key] = record.payload


def test_nothing_is_lost_in_an_outage() -> None:
    """All devices but the one that is out of coverage at the end have sent a record for every tick."""
    records = [r for r in ticks(race(), PERIOD_TICKS // 2) if r.kind is not Kind.RESENT]
    sent = Counter(record.device_id for record in records)
    assert sorted(sent.values())[1:] == [PERIOD_TICKS // 2] * 39


def test_records_are_of_the_size_and_kind_of_real_ones() -> None:
    """About 490 bytes, 20 attributes, among them a big integer and bytes."""
    for record in ticks(race(), 20):
        assert 460 <= len(record.payload) <= 510
        values = unpack_attributes(json.dumps(json.loads(record.payload)["attributes"]).encode())
        assert len(values) == 20
        assert values["78"] > 2**53
        assert isinstance(values["10828"], bytes)


def test_devices_drive_along_the_track() -> None:
    """Near Skopje, no faster than they say, and in the direction that they say."""
    positions = [decode(record.payload, latest=LATEST) for record in ticks(race(1), 60) if record.kind is Kind.LIVE]
    for one in positions:
        assert abs(one.latitude - SKOPJE[0]) < 0.03
        assert abs(one.longitude - SKOPJE[1]) < 0.06
        assert 0 <= one.angle < 360
        assert 20 < one.speed < 120
    assert len({one.speed for one in positions}) > 10
    for one, other in pairwise(positions):
        north, east = other.latitude - one.latitude, other.longitude - one.longitude
        # Off the corners; on one, the device has driven on in the old direction first.
        if one.angle == other.angle and (other.ts - one.ts).total_seconds() == 1:
            assert (north > 0) == (one.angle < 90 or one.angle > 270)
            assert (east > 0) == (one.angle < 180)


def test_a_track_is_closed() -> None:
    """A square of one hundredth of a degree on the equator: its corners, its length, and round again."""
    track = Track([(0, 0), (0.01, 0), (0.01, 0.01), (0, 0.01)])
    side_m = track.length_m / 4
    assert side_m == pytest.approx(1113.2, rel=1e-4)
    assert [round(track.place((i + 0.5) * side_m).course) % 360 for i in range(4)] == [0, 90, 180, 270]
    assert track.place(5.5 * side_m) == pytest.approx(track.place(1.5 * side_m))
    assert track.place(0.5 * side_m)[:2] == pytest.approx((0.005, 0))


@pytest.mark.parametrize("hz", [0.1, 1.0, 25.0])
def test_records_come_at_the_rate_asked_for(hz: float) -> None:
    """Two records of a device are 1/hz apart, to the millisecond, and none is of the future."""
    live = [record for record in ticks(race(1, hz), 30) if record.kind is Kind.LIVE]
    gaps_ms = {round((b.ts - a.ts).total_seconds() * 1000) for a, b in pairwise(live)}
    assert min(gaps_ms) == pytest.approx(1000 / hz, abs=1)
    assert live[0].ts <= START


def test_a_backlog_lies_before_the_race() -> None:
    """As many records as asked for, all of before the start, oldest first, none twice."""
    started = race(7)
    backlog = list(started.backlog(100))
    assert {record.kind for record in backlog} == {Kind.BACKLOG}
    assert len({(record.device_id, record.ts) for record in [*backlog, *started.tick()]}) == 107
    by_device = itertools.groupby(sorted(backlog, key=lambda record: record.device_id), key=lambda r: r.device_id)
    for _, records in by_device:
        times = [record.ts for record in records]
        assert times == sorted(times)
        assert times[-1] < START
    for record in backlog:
        assert decode(record.payload, latest=LATEST).ts == record.ts


def test_times_are_written_as_the_producer_does() -> None:
    """Milliseconds, always three digits, and Z."""
    assert iso_ms(datetime(2026, 5, 2, 12, 0, 0, 7000, tzinfo=UTC)) == "2026-05-02T12:00:00.007Z"


def test_riders_have_different_names() -> None:
    """A demo of ordinary size has no two riders of one name, and each has a class with a colour."""
    riders = [rider(number) for number in range(1, 401)]
    assert len({name for name, _, _ in riders}) == len(riders)
    assert len({(group, color) for _, group, color in riders}) == 4


def test_the_course_is_the_road() -> None:
    """The demo's course is as long as one lap, and starts where it finishes."""
    fitted = json.loads(fit_course(course()))
    (line, *marks) = fitted["features"]
    (road,) = line["geometry"]["coordinates"]
    length_m = sum(
        math.hypot(there[1] - here[1], (there[0] - here[0]) * math.cos(math.radians(here[1]))) * 111_320
        for here, there in pairwise(road)
    )
    assert length_m == pytest.approx(Track().length_m, rel=0.001)
    assert [mark["properties"]["kind"] for mark in marks] == ["start-finish", "point", "point"]


@pytest.mark.parametrize(("kind", "longest"), [(RecordKind.USUAL, 500), (RecordKind.DIGITS, 520)])
def test_benchmark_records_are_distinct_and_valid(kind: RecordKind, longest: int) -> None:
    """All decode, none twice, in turns of the devices; 20 attributes, two sentinels, about 490 bytes."""
    entries = list(bench_records(1003, devices=50, kind=kind))
    positions = [decode_entry(fields, latest=LATEST) for fields in entries]
    assert len({(one.device_id, one.ts) for one in positions}) == 1003
    assert len({one.device_id for one in positions}) == 50
    assert [one.ts for one in positions] == sorted(one.ts for one in positions)
    for fields, one in zip(entries, positions, strict=True):
        entry = dict(zip(fields[::2], fields[1::2], strict=True))
        assert (entry[b"device_id"], entry[b"ts"], entry[b"codec"]) == (
            one.device_id.encode(),
            iso_ms(one.ts).encode(),
            b"8E",
        )
        assert 480 <= len(entry[b"payload"]) <= longest
        values = unpack_attributes(one.attributes)
        assert len(values) == 20
        assert (type(values["78"]), type(values["10828"])) == (int, bytes)


def test_benchmark_records_rich_in_digits() -> None:
    """Of one kind the plain attributes are numbers of up to five digits, and hardly any two records have the same."""
    entries = list(bench_records(1003, kind=RecordKind.DIGITS))
    attributes = [decode_entry(fields, latest=LATEST).attributes for fields in entries]
    assert len(set(attributes)) > 990
    for values in map(unpack_attributes, attributes):
        plain = [value for key, value in values.items() if key not in ("78", "10828")]
        assert all(0 <= number < 100_000 for number in plain)
        assert sum(number >= 100 for number in plain) > 9


def test_benchmark_records_without_end_are_made_one_by_one() -> None:
    """A backlog of any size costs no memory: the first is there before the last is made."""
    assert next(bench_records(10**12))[0] == b"ts"
