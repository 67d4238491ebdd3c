import json
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, strategies as st

from telemetry_app.core.positions.rows import COLUMN_NAMES, columns, statements
from telemetry_app.records.codec import encode, pack_attributes
from telemetry_app.records.decoding import decode_entries
from telemetry_app.records.quality import judged
from tests.support.records import FIRST_TS, position

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_one_list_per_column() -> None:
    """Positions become one list per column, in the order of the columns and of the positions."""
    rows = columns([position(0), position(1, device_id="other", codec=None, priority=2)])

    assert dict(zip(COLUMN_NAMES, rows, strict=True)) == {
        "device_id": ["356307042441013", "other"],
        "ts": [FIRST_TS.timestamp(), FIRST_TS.timestamp() + 1],
        "latitude": [41.99, 41.99],
        "longitude": [21.43, 21.43],
        "altitude": [240.0, 240.0],
        "angle": [180.0, 180.0],
        "speed": [33.0, 33.0],
        "satellites": [12, 12],
        "priority": [0, 2],
        "codec": ["8E", None],
        "attributes": ['{"239":1,"240":true,"label":"x"}'] * 2,
    }


def test_nothing() -> None:
    """No position gives empty columns."""
    assert columns([]) == tuple([] for _ in COLUMN_NAMES)


def test_a_time_with_another_offset() -> None:
    """A time is the same moment whatever zone it is written in."""
    zoned = datetime.fromisoformat("2026-05-02T15:00:00+03:00")

    assert columns([position(ts=zoned)])[1] == columns([position(0)])[1]


def test_sentinels_become_strings() -> None:
    """Attributes come out as JSON text, big integers and bytes in it as strings."""
    raw = b'{"78":{"__bigint":"1152921504606846976"},"b":[{"__buffer_b64":"3q2+7w=="}],"n":1}'

    assert json.loads(columns([position(attributes=raw)])[10][0]) == {
        "78": "1152921504606846976",
        "b": ["3q2+7w=="],
        "n": 1,
    }


def test_attributes_are_stored_as_they_were_decoded_together() -> None:
    """What was found when a batch was decoded leads to the same as looking again, an escape and a doubt among it."""
    attributes = [{"n": number, "big": 2**60 + number, "bytes": bytes([number % 256])} for number in range(450)]
    attributes[230] |= {"text": "a\nb"}
    positions = [
        position(number, codec=None, attributes=pack_attributes(some)) for number, some in enumerate(attributes)
    ]
    positions[7] = msgspec.structs.replace(positions[7], latitude=0.0, longitude=0.0, satellites=0)
    entries = [(b"%d-0" % number, [b"payload", encode(p)]) for number, p in enumerate(positions)]

    together = judged(decode_entries(entries), max_ahead_s=10**9)

    assert columns(together) == columns(list(together)) == columns(positions)


def test_no_statement_is_too_long() -> None:
    """A batch of more than 2 MiB goes in several statements, whether its attributes were seen through or not."""
    texts = ["x" * 60_000, "x" * 60_000 + "\n"]
    for first in texts:
        entries = [
            (b"%d-0" % number, [b"payload", encode(position(number, attributes=pack_attributes({"text": text})))])
            for number, text in enumerate([first, *["y" * 60_000] * 39])
        ]
        together = decode_entries(entries).positions

        assert list(statements(together, 1000)) == list(statements(list(together), 1000)) == [(0, 34), (34, 40)]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2105, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_microseconds_survive_the_float(ts: datetime) -> None:
    """A float of seconds, read to the microsecond, is the time it was made from."""
    (seconds,) = columns([position(ts=ts)])[1]

    assert EPOCH + timedelta(microseconds=round(seconds * 1e6)) == ts
