"""What the table of positions is asked for, read from a real database."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import asdict

from telemetry_app.database.postgres import Postgres
from telemetry_app.live.positions.database import NEWEST, PositionsTable
from telemetry_app.live.wire.position import LivePosition
from telemetry_app.records.position import Position
from telemetry_app.records.quality import Doubted, epoch_ms
from tests.app.core.positions.writing import desk
from tests.support.database import pool, session
from tests.support.observed import LiveObserved
from tests.support.records import FIRST_TS, position, positions

#: 50 devices with a record a minute, over more than one chunk of a hypertable.
FILL = """
INSERT INTO positions (device_id, ts, latitude, longitude, speed, angle)
SELECT d::text, timestamptz '2026-05-02 12:00+00' + make_interval(mins => m), d, m / 1000.0, 1, 2
FROM generate_series(1, 50) d, generate_series(0, 19999, 50) m
"""


@pytest.fixture
def url(table_url: str) -> str:
    """A database with the table."""
    return table_url


@pytest.fixture
async def postgres(url: str) -> AsyncIterator[Postgres]:
    async with pool(url) as running:
        yield running


@pytest.fixture
def observed() -> LiveObserved:
    return LiveObserved()


@pytest.fixture
def reader(postgres: Postgres, observed: LiveObserved) -> PositionsTable:
    return PositionsTable(postgres, observed)


async def newest_of(reader: PositionsTable, *device_ids: str) -> list[LivePosition]:
    """Return what a readable table has."""
    found = await reader.newest(device_ids)
    assert found is not None
    return found


def in_time(taken: Position) -> LivePosition:
    """Return what a map shows of a record that came after its timestamp."""
    return LivePosition.from_position(taken, epoch_ms(taken.ts))


def ahead(second: int, appended: int, fault: str | None = None, **changes: Any) -> Position:
    """Return a position of a device `a` of `second` that was appended at second `appended`."""
    plain = asdict(position(second, device_id="a", **changes))
    return Doubted(**plain, appended_ms=epoch_ms(FIRST_TS) + 1000 * appended, fault=fault)


async def test_the_newest_of_each(url: str, reader: PositionsTable, observed: LiveObserved) -> None:
    """A snapshot has the newest position of each device asked for, just as it would come live."""
    newest = [position(5, device_id="a", latitude=1.5), position(9, device_id="b", ts=FIRST_TS + timedelta(days=90))]
    async with desk(url) as it:
        await it.writer.write(
            [*newest, position(1, device_id="a"), position(7, device_id="b"), position(device_id="c")]
        )

    found = await newest_of(reader, "a", "b", "unknown")

    assert sorted(found, key=lambda p: p.device_id) == [in_time(p) for p in newest]
    assert found[0].ts_ms % 1000 == 0
    assert len(observed.snapshots) == 1


async def test_milliseconds(url: str, reader: PositionsTable) -> None:
    """Times come out of the database as they come out of the stream, whatever their digits."""
    sent = [position(device_id=str(n), ts=FIRST_TS + timedelta(microseconds=1_234_567 * n + n * n)) for n in range(200)]
    async with desk(url) as it:
        await it.writer.write(sent)

    found = {p.device_id: p.ts_ms for p in await newest_of(reader, *(p.device_id for p in sent))}

    assert found == {p.device_id: in_time(p).ts_ms for p in sent}


async def test_faulty_ones_are_left_out(url: str, reader: PositionsTable) -> None:
    """Instead of a position that is marked faulty the next best is shown; a device with none but those is left out."""
    async with desk(url) as it, session(url) as connection:
        await it.writer.write([position(n, device_id=d) for d in "ab" for n in range(5)])
        await connection.execute(
            "UPDATE positions SET faulty = true WHERE device_id = 'b' OR ts >= $1", FIRST_TS + timedelta(seconds=3)
        )

    assert await reader.newest(["a", "b"]) == [in_time(position(2, device_id="a"))]


async def test_a_clock_that_was_set_right_is_followed(url: str, reader: PositionsTable) -> None:
    """The newest is the one with the greatest of the smaller ones of timestamp and append, as it would come live."""
    sent = [ahead(200, 0), ahead(201, 1), position(2, device_id="a"), ahead(90_000, 3, "ahead"), position(9)]
    async with desk(url) as it:
        for number, at_second in ((2, 1), (3, 2), (4, 2)):
            await it.writer.write(sent[:number])
            (newest,) = await newest_of(reader, "a")
            expected = sent[number - 1] if number < 4 else sent[2]
            assert newest == LivePosition.from_position(expected, epoch_ms(FIRST_TS) + 1000 * at_second)
        assert {p.device_id for p in await newest_of(reader, "a", sent[4].device_id)} == {"a"}
        await it.writer.write(sent)
        assert {p.device_id for p in await newest_of(reader, "a", sent[4].device_id)} == {"a", sent[4].device_id}


async def test_rows_that_an_earlier_release_stored_ahead(url: str, reader: PositionsTable) -> None:
    """They were there when they were ingested, so that the next position is newer."""
    async with session(url) as connection, desk(url) as it:
        await connection.execute(
            "INSERT INTO positions (device_id, ts, latitude, longitude, ingested_at)"
            " VALUES ('a', $1::timestamptz + interval '23 hours', 1, 2, $1)",
            FIRST_TS,
        )
        assert [p.rank[0] for p in await newest_of(reader, "a")] == [epoch_ms(FIRST_TS)]
        await it.writer.write([position(1, device_id="a")])

    assert await reader.newest(["a"]) == [in_time(position(1, device_id="a"))]


async def test_rows_of_other_hands(url: str, reader: PositionsTable) -> None:
    """Without a place a row is passed over; without speed and course it stands still."""
    async with session(url) as connection:
        await connection.execute(
            "INSERT INTO positions (device_id, ts, latitude, longitude) VALUES ('a', to_timestamp(2), NULL, 3),"
            " ('a', to_timestamp(1), 1, 2)"
        )

    assert await reader.newest(["a"]) == [LivePosition("a", 1, 2, 1000, 0, 0, (1000, 1000))]


async def test_nothing_to_read(reader: PositionsTable, observed: LiveObserved) -> None:
    """Without devices nothing is asked."""
    assert await reader.newest([]) == []
    assert observed.snapshots == []


async def test_it_fails_open(caplog: pytest.LogCaptureFixture, observed: LiveObserved) -> None:
    """Without a database nothing is raised; it is counted, and said once."""
    async with pool("postgresql://postgres@127.0.0.1:1/x") as nowhere:
        reader = PositionsTable(nowhere, observed)
        assert [await reader.newest(["a"]) for _ in range(3)] == [None, None, None]

    assert (observed.snapshot_failures, len(observed.snapshots)) == (3, 3)
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == ["reading snapshots (partial meanwhile)"]


async def test_a_stuck_table(
    url: str, reader: PositionsTable, observed: LiveObserved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that takes too long is given up, and the next one has a working connection."""
    monkeypatch.setattr("telemetry_app.live.positions.database.TIMEOUT_S", 0.3)
    async with desk(url) as it:
        await it.writer.write([position(device_id="a")])
    async with session(url) as connection, connection.transaction():
        await connection.execute("LOCK TABLE positions IN ACCESS EXCLUSIVE MODE")
        assert await reader.newest(["a"]) is None
    assert observed.snapshot_failures == 1

    monkeypatch.setattr("telemetry_app.live.positions.database.TIMEOUT_S", 30)
    assert len(await newest_of(reader, "a")) == 1


async def test_stored_until(url: str, reader: PositionsTable) -> None:
    """Of each device the last row is told up to the time asked for, faulty or not; unknown devices are left out."""
    async with desk(url) as writing, session(url) as connection:
        await writing.writer.write(positions(3))
        await connection.execute("UPDATE positions SET faulty = true WHERE ts = (SELECT max(ts) FROM positions)")
    device, first_ms = positions(1)[0].device_id, epoch_ms(FIRST_TS)

    for until_ms, found_ms in ((9000, 2000), (2000, 2000), (1999, 1000)):
        ranks = dict.fromkeys([device, "unknown"], (0, first_ms + until_ms))
        assert await reader.stored_until(ranks) == {device: (first_ms + found_ms, first_ms + found_ms)}


async def test_stored_until_fails_open(observed: LiveObserved) -> None:
    """Without a database nothing is known to be stored, and nothing is raised."""
    async with pool("postgresql://127.0.0.1:1/none") as nowhere:
        assert await PositionsTable(nowhere, observed).stored_until({"a": (1, 1)}) == {}


@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
async def test_one_indexed_read_per_device(url: str, plan: str) -> None:
    """The database walks down the index of devices and times, and reads no table from end to end.

    Statements that run often get a generic plan, which has to be as good.
    """
    async with session(url) as connection:
        await connection.execute(FILL)
        await connection.execute("ANALYZE positions")
        await connection.execute(f"SET plan_cache_mode = {plan}")
        explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {NEWEST}", [str(n) for n in range(1, 51)])

    nodes = list(_nodes(json.loads(explained)[0]["Plan"]))
    # TimescaleDB's node that goes through the chunks in order of time, and stops at the first row.
    scans = [node for node in nodes if "Relation Name" in node and node.get("Custom Plan Provider") != "ChunkAppend"]
    assert scans
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
    assert all(node["Index Name"].endswith("positions_device_ts_idx") for node in scans)
    assert not any(node["Node Type"] in {"Sort", "Incremental Sort", "Bitmap Heap Scan"} for node in nodes)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
