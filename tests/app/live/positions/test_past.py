"""Windows of past positions, read from a real database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from telemetry_app.database.postgres import Postgres
from telemetry_app.live.ports import PastUnavailableError
from telemetry_app.live.positions import past
from telemetry_app.live.positions.past import PastPositions
from telemetry_app.live.wire.past import Past, Track, Window
from telemetry_app.records.quality import epoch_ms
from tests.app.core.positions.writing import desk
from tests.support.database import pool, session
from tests.support.records import FIRST_TS, position
from tests.support.waiting import eventually

FIRST_MS = epoch_ms(FIRST_TS)
#: A row every second of `seconds` for each device, over more than one chunk of a hypertable when they are days apart.
FILL = """
INSERT INTO positions (device_id, ts, latitude, longitude, speed, angle)
SELECT d, $2::timestamptz + make_interval(secs => s), s / 1000.0, 1, s, 2
FROM unnest($1::text[]) d, generate_series(0, $3::int - 1) s
"""
READS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%array_agg(ms)%' AND pid <> pg_backend_pid()
"""


@pytest.fixture
def url(table_url: str) -> str:
    """A database with the table."""
    return table_url


@pytest.fixture
async def postgres(url: str) -> AsyncIterator[Postgres]:
    async with pool(url, writes=False, statement_timeout_ms=120_000) as running:
        yield running


@pytest.fixture
def reader(postgres: Postgres) -> PastPositions:
    return PastPositions(postgres)


def window(first_s: float, end_s: float, step_s: float = 0) -> Window:
    """Return a window by seconds since the first record."""
    times = {"from": FIRST_MS + round(first_s * 1000), "to": FIRST_MS + round(end_s * 1000)}
    return Window.model_validate({"event": "7", "step": round(step_s * 1000), **times})


def seconds(track: Track) -> list[float]:
    return [(ms - FIRST_MS) / 1000 for ms in track.ts]


async def test_a_window_by_columns(url: str, reader: PastPositions) -> None:
    """Each device has its positions from the first time on and before the second, oldest first, as sent live."""
    async with desk(url) as it:
        for device in "ab":
            await it.writer.write([position(n, device_id=device, speed=0.0, angle=n) for n in (4, 3, 2, 1, 0)])
        await it.writer.write([position(9, device_id="a"), position(1, device_id="c")])

    answer = await reader.read(["b", "a", "unknown"], window(1, 4))

    assert (answer.first_ms, answer.end_ms, answer.next_ms) == (
        FIRST_MS + 1000,
        FIRST_MS + 4000,
        Past("", 0, 0, 0, []).next_ms,
    )
    one = position(1)
    assert answer.devices == [
        Track(
            device,
            [FIRST_MS + 1000, FIRST_MS + 2000, FIRST_MS + 3000],
            [one.latitude] * 3,
            [one.longitude] * 3,
            [0.0] * 3,
            [1.0, 2.0, 3.0],
        )
        for device in "ab"
    ]


async def test_windows_meet_without_gap(url: str, reader: PastPositions) -> None:
    """Of windows next to each other every position is in exactly one, with the milliseconds that it has live."""
    sent = [position(ts=FIRST_TS + timedelta(microseconds=1_234_567 * n + n * n)) for n in range(200)]
    async with desk(url) as it:
        await it.writer.write(sent)

    found: list[int] = []
    for start in range(250):
        for track in (await reader.read([sent[0].device_id], window(start, start + 1))).devices:
            assert all(start * 1000 <= ms - FIRST_MS < (start + 1) * 1000 for ms in track.ts)
            found += track.ts

    assert found == [epoch_ms(p.ts) for p in sent]


async def test_what_is_not_shown_live_is_left_out(url: str, reader: PastPositions) -> None:
    """Faulty positions and those without a place are passed over; a device that has no others is not there."""
    async with desk(url) as it, session(url) as connection:
        await it.writer.write([position(n, device_id=d) for d in "ab" for n in range(5)])
        await connection.execute(
            "UPDATE positions SET faulty = device_id = 'b' OR ts = $1,"
            " latitude = CASE WHEN ts = $2 THEN float8 'NaN' ELSE 1 END",
            FIRST_TS + timedelta(seconds=3),
            FIRST_TS + timedelta(seconds=1),
        )

    (track,) = (await reader.read(["a", "b"], window(0, 60))).devices

    assert (track.deviceId, seconds(track)) == ("a", [0, 2, 4])


@pytest.mark.parametrize("step_s", [0, 7])
async def test_a_large_answer_is_cut(
    url: str, reader: PastPositions, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """It says how far it goes; going on from there until it is whole gives each position once."""
    monkeypatch.setattr(past, "MAX_POSITIONS", 100)
    async with session(url) as connection:
        await connection.execute(FILL, ["a", "b"], FIRST_TS, 1000)
        await connection.execute(FILL, ["c"], FIRST_TS + timedelta(seconds=500), 3)

    found: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    asked: Window | None = window(0, 2000, step_s)
    answers = 0
    while asked is not None:
        answer = await reader.read(["a", "b", "c"], asked)
        answers += 1
        assert sum(len(track.ts) for track in answer.devices) <= 100
        for track in answer.devices:
            assert all(answer.first_ms <= ms < answer.end_ms for ms in track.ts)
            found[track.deviceId] += seconds(track)
        last = answer.next_ms
        assert answer.end_ms == (last if isinstance(last, int) else FIRST_MS + 2_000_000)
        asked = window((last - FIRST_MS) / 1000, 2000, step_s) if isinstance(last, int) else None

    assert answers > 2
    if step_s:
        parts = [second for n, second in enumerate(range(1000)) if n == 0 or part_of(second) != part_of(second - 1)]
        assert found["a"] == found["b"] == parts
    else:
        assert found == {"a": [*range(1000)], "b": [*range(1000)], "c": [500, 501, 502]}


def part_of(second: int) -> int:
    return (FIRST_MS + second * 1000) // 7000


async def test_thinning_keeps_the_first_of_each_interval(url: str, reader: PastPositions) -> None:
    """Intervals count from 1970, so that windows that begin with one fit together."""
    async with session(url) as connection:
        await connection.execute(FILL, ["a"], FIRST_TS, 60)
        await connection.execute(
            "DELETE FROM positions WHERE ts BETWEEN $1 AND $2", *(FIRST_TS + timedelta(seconds=s) for s in (20, 33))
        )

    (track,) = (await reader.read(["a"], window(0, 60, 10))).devices

    assert FIRST_MS % 10_000 == 0
    assert seconds(track) == [0, 10, 34, 40, 50]


@pytest.mark.parametrize(
    ("statement", "limits", "read"), [("_ALL", (2500,), 100), ("_ALL", (30,), 30), ("_NEWEST", (30,), 30)]
)
async def test_only_what_is_given_is_read(url: str, statement: str, limits: tuple[int, ...], read: int) -> None:
    """Each device is one read of the index, and what it has outside the window, or beyond the limit, is not read."""
    # With few devices the index on ts may be as good.
    devices = [str(n) for n in range(200)]
    async with session(url) as connection:
        for days in range(20, 41, 10):
            await connection.execute(FILL, devices, FIRST_TS + timedelta(days=days), 150)
        await connection.execute("VACUUM ANALYZE positions")
        start = FIRST_TS + timedelta(days=30)
        explained = "EXPLAIN (ANALYZE, TIMING OFF) " + getattr(past, statement)
        rows = await connection.fetch(explained, devices, start, start + timedelta(seconds=100), *limits)
    plan = "\n".join(row[0] for row in rows)
    found = re.findall(r"device_ts.*actual rows=(\d+)\S* loops=(\d+)", plan)
    assert found == [(str(read), "200")], plan
    assert "Seq Scan" not in plan, plan


async def test_the_newest_of_each_device(url: str, reader: PastPositions) -> None:
    """However often a device sends it has so many, oldest first."""
    async with desk(url) as it:
        await it.writer.write(
            [position(n * every, device_id=d) for d, every in (("a", 1), ("b", 60)) for n in range(50)]
        )

    answer = await reader.read(["a", "b"], window(0, 3000).model_copy(update={"newest": 3}))

    assert {track.deviceId: seconds(track) for track in answer.devices} == {"a": [47, 48, 49], "b": [2820, 2880, 2940]}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads wait for a lock, and for each other, for as long as a test takes."""
    for limit in ("READ_S", "_WAIT_S"):
        monkeypatch.setattr(past, limit, 120.0)


@pytest.mark.usefixtures("patient")
async def test_too_many_readers_are_told(url: str, reader: PastPositions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads wait a little for the one before, and only so many of them."""
    monkeypatch.setattr(past, "_WAIT_S", 1.0)
    async with session(url) as connection:
        async with connection.transaction():
            await connection.execute("LOCK TABLE positions")
            reads = [asyncio.create_task(reader.read(["a"], window(0, 1))) for _ in range(past._MAX_WAITING)]
            await eventually(lambda: reader._asking == past._MAX_WAITING, message="all wait")
            with pytest.raises(PastUnavailableError, match="busy"):
                await reader.read(["a"], window(0, 1))
            results = await asyncio.gather(*reads[1:], return_exceptions=True)
            assert {str(result) for result in results} == {"busy"}
        assert (await reads[0]).devices == []
    monkeypatch.setattr(past, "_WAIT_S", 120.0)
    assert (await reader.read(["a"], window(0, 1))).devices == []


@pytest.mark.usefixtures("patient")
async def test_a_read_rests_as_long_as_it_took(url: str, reader: PastPositions) -> None:
    """However many ask, storing has half of the time."""
    loop = asyncio.get_running_loop()
    async with session(url) as watching, session(url) as connection, connection.transaction():
        await connection.execute("LOCK TABLE positions")
        first, second = (asyncio.create_task(reader.read(["a"], window(0, 1))) for _ in range(2))
        await eventually(lambda: reading(watching), message="the statement waits for the lock")
        await asyncio.sleep(0.5)
    began = loop.time()
    await first
    await second
    assert loop.time() - began > 0.4


async def reading(watching: asyncpg.Connection[Any]) -> int:
    """Return how many statements of reads there are in the database."""
    return int(await watching.fetchval(READS))


@pytest.mark.usefixtures("patient")
async def test_giving_up_ends_the_statement(url: str, reader: PastPositions) -> None:
    """Nothing goes on in the database for somebody who has gone."""
    async with session(url) as watching, session(url) as other, other.transaction():
        await other.execute("LOCK TABLE positions")
        read = asyncio.create_task(reader.read(["a"], window(0, 1)))
        await eventually(lambda: reading(watching), message="the statement waits for the lock")
        read.cancel()

        async def has_ended() -> bool:
            return await reading(watching) == 0

        await eventually(has_ended, message="the statement has ended")


async def test_a_database_that_cannot_be_read(postgres: Postgres, reader: PastPositions) -> None:
    """It is no empty past."""
    await postgres.stop()
    with pytest.raises(PastUnavailableError, match="error"):
        await reader.read(["a"], window(0, 1))


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([], None),
        ([(2, 3)], (2, 3)),
        ([(1, 1.5), (30, 31), (40, 44), (60, 60.5)], (30, 60.5)),
        ([(0, 1), (5, 6)], (0, 6)),
    ],
)
async def test_the_extent_of_an_event(
    url: str, reader: PastPositions, hours: list[tuple[float, float]], expected: tuple[float, float] | None
) -> None:
    """It begins after a silence of more than a night, and ends with the last good position so far."""
    async with session(url) as connection:
        for first, last in [*hours, (100, 101)]:
            for device, hour in (("a", first), ("b", last)):
                await connection.execute(FILL, [device], FIRST_TS + timedelta(hours=hour), 1)
        await connection.execute("UPDATE positions SET faulty = ts >= $1", FIRST_TS + timedelta(hours=99))
        await connection.execute(FILL, ["a"], FIRST_TS + timedelta(hours=130), 1)
        await connection.execute(FILL, ["other"], FIRST_TS + timedelta(hours=20), 1)

    extent = await reader.extent(["a", "b"], FIRST_TS + timedelta(hours=120))

    assert extent == (expected and tuple(FIRST_MS + round(hour * 3_600_000) for hour in expected))
    assert await reader.extent([], FIRST_TS) is None


async def test_the_extent_goes_back_for_a_week(url: str, reader: PastPositions) -> None:
    """A tracker that never stops sending makes no endless event."""
    async with session(url) as connection:
        for hour in range(0, 240, 10):
            await connection.execute(FILL, ["a"], FIRST_TS + timedelta(hours=hour), 1)

    extent = await reader.extent(["a"], FIRST_TS + timedelta(hours=235))

    assert extent == (FIRST_MS + 70 * 3_600_000, FIRST_MS + 230 * 3_600_000)
