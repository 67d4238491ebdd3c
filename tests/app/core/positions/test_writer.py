from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import asdict

from telemetry_app.core.positions.insert import LONGEST_REASON
from telemetry_app.core.sink import Refused
from telemetry_app.database.migrate import migrate
from telemetry_app.records.quality import Doubted
from tests.app.core.positions.writing import WriteResult, desk, stored
from tests.support.database import session
from tests.support.records import FIRST_TS, position, positions


@pytest.fixture
def url(table_url: str) -> str:
    """A database with the table."""
    return table_url


async def test_every_column_is_stored(url: str) -> None:
    """A position comes back from the table as it was given, to the microsecond."""
    ts = datetime(2026, 5, 2, 12, 0, 0, 123457, tzinfo=UTC)
    async with desk(url) as it, session(url) as connection:
        result = await it.write([position(ts=ts, priority=2)])
        row = await connection.fetchrow("SELECT * FROM positions")

    assert result == WriteResult(inserted=1, duplicates=0, refused=())
    assert row is not None
    expected = {
        "device_id": "356307042441013",
        "ts": ts,
        "latitude": 41.99,
        "longitude": 21.43,
        "altitude": 240.0,
        "angle": 180.0,
        "speed": 33.0,
        "satellites": 12,
        "priority": 2,
        "codec": "8E",
        "attributes": '{"239": 1, "240": true, "label": "x"}',
        "faulty": False,
    }
    assert {name: row[name] for name in expected} == expected


async def test_what_is_in_doubt_is_stored_with_its_reason(url: str) -> None:
    """A faulty position says why; one that is ahead says when it came; their neighbours are as ever."""
    late = position(1, device_id="b")
    ahead, adrift = (
        Doubted(**asdict(position(device_id=device)), appended_ms=round(FIRST_TS.timestamp() * 1000) - 250, fault=fault)
        for device, fault in (("a", None), ("c", "ahead"))
    )
    async with desk(url) as it, session(url) as connection:
        result = await it.write([ahead, late, adrift, adrift])
        rows = await connection.fetch(
            "SELECT device_id, faulty, faulty_reason, ingested_at < ts, ts - ingested_at FROM positions ORDER BY 1"
        )

    assert result == WriteResult(inserted=3, duplicates=1, refused=())
    assert [tuple(row)[:4] for row in rows] == [
        ("a", False, None, True), ("b", False, None, False), ("c", True, "ahead", True),
    ]  # fmt: skip
    assert rows[0][4] == timedelta(milliseconds=250)
    assert it.observed.faults == {"ahead": 1}


async def test_microseconds_survive(url: str) -> None:
    """Times to the microsecond keep every digit on their way through a float."""
    times = [
        datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=317 * n, microseconds=123_457 * n + n) for n in range(80)
    ]
    async with desk(url) as it, session(url) as connection:
        await it.write([position(ts=ts) for ts in times])
        rows = await connection.fetch("SELECT ts FROM positions ORDER BY ts")

    assert [row["ts"] for row in rows] == times


async def test_no_codec_is_null(url: str) -> None:
    """A record that names no codec has none in the table."""
    async with desk(url) as it, session(url) as connection:
        await it.write([position(codec=None)])
        assert await connection.fetchval("SELECT codec IS NULL FROM positions") is True


async def test_sentinels_at_depth(url: str) -> None:
    """Big integers are stored as decimal strings and bytes as base64 strings, at any depth."""
    attributes = b'{"78":{"__bigint":"1152921504606846976"},"a":[{"b":{"__buffer_b64":"3q2+7w=="}}]}'
    async with desk(url) as it, session(url) as connection:
        await it.write([position(attributes=attributes)])
        row = await connection.fetchrow(
            "SELECT attributes->>'78' AS big, attributes#>>'{a,0,b}' AS bytes FROM positions"
        )

    assert row is not None
    assert (row["big"], row["bytes"]) == ("1152921504606846976", "3q2+7w==")


async def test_nothing_to_write(url: str) -> None:
    """An empty batch is done without asking the database."""
    async with desk(url) as it:
        assert await it.write([]) == WriteResult(0, 0, ())
        assert it.observed.durations == []


async def test_batches_are_split(url: str) -> None:
    """A batch longer than the limit goes in several statements, the last one with the rest."""
    async with desk(url, max_rows=10) as it:
        result = await it.write(positions(25))
        statements = len(it.observed.durations)

    assert (result.inserted, statements) == (25, 3)
    assert await stored(url) == list(range(25))


async def test_duplicates_across_batches(url: str) -> None:
    """A batch written again is counted as duplicates, its new rows as inserted."""
    async with desk(url) as it:
        await it.write(positions(10))
        result = await it.write(positions(15))

    assert result == WriteResult(inserted=5, duplicates=10, refused=())
    assert it.observed.rows == {"inserted": 15, "duplicates": 10}
    assert await stored(url) == list(range(15))


async def test_duplicates_inside_a_batch(url: str) -> None:
    """Of two records with one key in one batch the first is stored and the second is a duplicate."""
    async with desk(url) as it, session(url) as connection:
        result = await it.write([position(0, speed=1.0), position(1), position(0, speed=2.0)])
        speed = await connection.fetchval("SELECT speed FROM positions ORDER BY ts LIMIT 1")

    assert result == WriteResult(inserted=2, duplicates=1, refused=())
    assert speed == 1.0


async def test_one_time_on_many_devices(url: str) -> None:
    """The key is device and time together: devices do not shadow each other."""
    async with desk(url) as it:
        result = await it.write([position(0, device_id=f"device-{n}") for n in range(50)])

    assert result.inserted == 50


async def test_old_records_open_chunks(url: str) -> None:
    """A bulk upload that spans many months is stored, newest first as trackers send it."""
    async with desk(url) as it:
        result = await it.write([position(-86_400 * 9 * n) for n in range(40)])

    assert result.inserted == 40


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("nul-in-jsonb", {"attributes": b'{"label":"a\\u0000b"}'}, "attributes: "),
    ("nul-in-text", {"device_id": "a\x00b"}, "device_id: "),
    ("number-out-of-range", {"attributes": b'{"n":1e200000}'}, "attributes: "),
    ("smallint-out-of-range", {"satellites": 40_000}, "satellites: "),
    ("lone-surrogate", {"codec": "\ud800"}, "codec: "),
    ("lone-surrogate-in-jsonb", {"attributes": b'{"label":"\\ud800"}'}, "attributes: "),
    ("key-too-long-for-the-index", {"device_id": "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(4000))}, ""),
]


@pytest.mark.parametrize(("changes", "column"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_a_refused_row_is_isolated(url: str, changes: dict[str, Any], column: str) -> None:
    """A row that the database cannot hold is named with its column, wherever it is, and the others are stored."""
    for round_number, index in enumerate((0, 17, 49)):
        batch = positions(50, first=100 * round_number)
        batch[index] = position(100 * round_number + index, **changes)
        async with desk(url) as it:
            result = await it.write(batch)

        assert [refused.index for refused in result.refused] == [index]
        reason = result.refused[0].reason
        assert reason.startswith(column)
        assert len(column) < len(reason) <= LONGEST_REASON
        assert it.observed.rows == {"inserted": 49, "duplicates": 0, "failed": 1}
        assert it.observed.retries.total() == 0
    assert await stored(url) == [100 * r + n for r, bad in enumerate((0, 17, 49)) for n in range(50) if n != bad]


async def test_refused_rows_of_several_kinds(url: str) -> None:
    """Refused rows keep the index they have in the whole write, beyond the first statement too."""
    bad: dict[int, dict[str, Any]] = {
        0: {"satellites": 40_000},
        7: {"attributes": b'{"x":"\\u0000"}'},
        8: {"codec": "a\x00"},
        24: {"priority": -40_000},
    }
    batch = [position(n, **bad.get(n, {})) for n in range(25)]
    async with desk(url, max_rows=10) as it:
        result = await it.write(batch)

    assert [refused.index for refused in result.refused] == list(bad)
    assert [refused.reason.split(":")[0] for refused in result.refused] == [
        "satellites",
        "attributes",
        "codec",
        "priority",
    ]
    assert (result.inserted, result.duplicates) == (21, 0)


async def test_a_batch_of_refused_rows(url: str) -> None:
    """A batch in which every row is refused ends, and stores nothing."""
    async with desk(url) as it:
        result = await it.write([position(n, satellites=40_000) for n in range(16)])

    assert [refused.index for refused in result.refused] == list(range(16))
    assert await stored(url) == []


async def test_isolation_is_cheap(url: str) -> None:
    """One refused row among 1,000 is found within twice log2(1,000) statements that succeed."""
    batch = positions(1000)
    batch[613] = position(613, attributes=b'{"x":"\\u0000"}')
    async with desk(url) as it:
        result = await it.write(batch)

    assert (result.inserted, len(result.refused)) == (999, 1)
    assert 1 < len(it.observed.durations) <= 10


async def test_a_broken_constraint_names_itself(url: str) -> None:
    """A row that breaks a constraint of the operator's own is refused, and the reason names the constraint."""
    async with session(url) as connection:
        await connection.execute("ALTER TABLE positions ADD CONSTRAINT speed_is_sane CHECK (speed < 1000)")
    async with desk(url) as it:
        result = await it.write([position(0), position(1, speed=5000.0)])

    assert result.inserted == 1
    assert result.refused == (Refused(1, result.refused[0].reason),)
    assert "speed_is_sane" in result.refused[0].reason


async def test_an_older_table_with_two_indexes(postgres_url: str) -> None:
    """A table that an earlier deployment made with two separate indexes takes the same inserts."""
    async with session(postgres_url) as connection:
        await connection.execute(
            "CREATE TABLE positions (device_id text NOT NULL, ts timestamptz NOT NULL, latitude float8,"
            " longitude float8, altitude float8, angle float8, speed float8, satellites int2, priority int2,"
            " codec text, attributes jsonb NOT NULL DEFAULT '{}', ingested_at timestamptz NOT NULL DEFAULT now());"
            "CREATE UNIQUE INDEX one ON positions (device_id, ts); CREATE INDEX two ON positions (device_id, ts DESC)"
        )
    await migrate(postgres_url)
    async with desk(postgres_url) as it:
        result = await it.write([position(0), position(0)])

    assert result == WriteResult(inserted=1, duplicates=1, refused=())
