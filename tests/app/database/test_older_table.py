"""Taking over a table that an earlier deployment made: indexes beside its writers, and rows that are there twice."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg
import pytest

from telemetry_app.database import duplicates
from telemetry_app.database.indexes import DUPLICATES_QUERY
from telemetry_app.database.migrate import DuplicatesError, MigrationBusyError, migrate, remove_duplicates
from tests.support.database import session
from tests.support.waiting import eventually

COLUMNS = """device_id text NOT NULL, ts timestamptz NOT NULL, latitude float8, longitude float8, altitude float8,
    angle float8, speed float8, satellites int2, priority int2, codec text, attributes jsonb NOT NULL DEFAULT '{}'"""
TABLE = f"CREATE TABLE positions ({COLUMNS}, ingested_at timestamptz NOT NULL DEFAULT now());"
#: 20 keys, each of them `copies` times; `speed` says which copy, the first that came in is 1.
FILL = """INSERT INTO positions (device_id, ts, speed, ingested_at)
SELECT 'd' || n % 5, '2026-01-01'::timestamptz + n * interval '20 days', copy,
    '2026-06-01Z'::timestamptz + copy * interval '1 s'
FROM generate_series(1, 20) n, generate_series(3, 1, -1) copy"""
KEY_INDEX = "positions_device_ts_idx"


@pytest.fixture
async def url(postgres_url: str) -> str:
    """A database with an empty table without indexes; on TimescaleDB it is a hypertable."""
    async with session(postgres_url) as connection:
        await connection.execute(TABLE)
        if await connection.fetchval("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"):
            await make_hypertable(connection)
    return postgres_url


async def make_hypertable(connection: asyncpg.Connection[Any]) -> None:
    await connection.execute("SET client_min_messages = error; CREATE EXTENSION timescaledb")
    await connection.execute("SELECT create_hypertable('positions', 'ts', create_default_indexes => false)")


@pytest.fixture
async def plain_url(plain_postgres_url: str) -> str:
    """A database with an empty ordinary table without indexes."""
    async with session(plain_postgres_url) as connection:
        await connection.execute(TABLE)
    return plain_postgres_url


async def execute(url: str, *statements: str) -> None:
    async with session(url) as connection:
        for statement in statements:
            await connection.execute(statement)


async def index_states(url: str) -> dict[str, bool]:
    """Return each index of the table and whether it is valid."""
    async with session(url) as connection:
        rows = await connection.fetch(
            "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'positions'::regclass"
        )
    return {row[0]: row[1] for row in rows}


async def test_duplicates_are_told_with_the_query_that_shows_them(url: str) -> None:
    """A table with several rows of one key is refused in one sentence that tells how to see and to remove them."""
    await execute(url, FILL)
    with pytest.raises(DuplicatesError) as refused:
        await migrate(url)

    sentence = str(refused.value)
    assert "\n" not in sentence
    assert f"`{DUPLICATES_QUERY}`" in sentence
    assert "`telemetry migrate --remove-duplicates`" in sentence
    assert await index_states(url) == {}
    async with session(url) as connection:
        assert len(await connection.fetch(DUPLICATES_QUERY)) == 20


@pytest.mark.parametrize("at_once", [7, 5000])
async def test_removing_duplicates(url: str, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Of each key the row that came in first stays, whatever the batches; then the table can be taken over."""
    monkeypatch.setattr(duplicates, "_AT_ONCE", at_once)
    await execute(url, FILL)
    told: list[tuple[int, int]] = []

    assert await remove_duplicates(url, progress=lambda done, total: told.append((done, total))) == 40
    assert told == [(min(done, 40), 40) for done in range(at_once, 40 + at_once, at_once)]
    async with session(url) as connection:
        rows = await connection.fetch("SELECT device_id, ts, speed FROM positions")
    assert (len(rows), {row["speed"] for row in rows}) == (20, {1.0})
    assert await migrate(url) != []
    assert (await index_states(url))[KEY_INDEX]
    assert await remove_duplicates(url) == 0


async def test_removing_duplicates_where_nobody_noted_when_rows_came(plain_postgres_url: str) -> None:
    """Without `ingested_at` the row that stands first in the table stays, and rows without a key are left alone."""
    nullable = COLUMNS.replace("device_id text NOT NULL", "device_id text")
    await execute(
        plain_postgres_url,
        f"CREATE TABLE positions ({nullable})",
        "INSERT INTO positions (device_id, ts, speed) VALUES ('a', '2026-01-01', 1), ('a', '2026-01-01', 2),"
        " (NULL, '2026-01-01', 3), (NULL, '2026-01-01', 4)",
    )

    assert await remove_duplicates(plain_postgres_url) == 1
    async with session(plain_postgres_url) as connection:
        assert [row[0] for row in await connection.fetch("SELECT speed FROM positions ORDER BY 1")] == [1, 3, 4]


async def test_no_table_no_duplicates(postgres_url: str) -> None:
    """Without a table there is nothing to remove."""
    assert await remove_duplicates(postgres_url) == 0


async def test_a_row_that_took_a_duplicates_place_stays(plain_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are removed by their place in the table, unless another row stands there by then."""
    await execute(
        plain_url, "INSERT INTO positions (device_id, ts) SELECT 'a', '2026-01-01' FROM generate_series(1, 3)"
    )
    find = duplicates._remove_batch

    async def meanwhile(connection: asyncpg.Connection[Any], first: int, last: int) -> int:
        await execute(
            plain_url,
            "DELETE FROM positions WHERE ctid = '(0,2)'",
            "VACUUM positions",
            "INSERT INTO positions (device_id, ts) VALUES ('b', '2026-01-01')",
        )
        async with session(plain_url) as other:
            assert await other.fetchval("SELECT device_id FROM positions WHERE ctid = '(0,2)'") == "b"
        return await find(connection, first, last)

    monkeypatch.setattr(duplicates, "_remove_batch", meanwhile)
    assert await remove_duplicates(plain_url) == 1
    async with session(plain_url) as connection:
        assert [row[0] for row in await connection.fetch("SELECT device_id FROM positions ORDER BY 1")] == ["a", "b"]


async def a_build_waits(url: str) -> bool:
    """Whether an index is being built and waits for a transaction to end.

    Asked by a session of its own: within a transaction the answer would not change.
    """
    async with session(url) as connection:
        waits: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE datname = current_database()"
            " AND phase LIKE 'waiting for %')"
        )
    return waits


async def test_an_index_is_built_beside_the_writers(plain_url: str) -> None:
    """While an ordinary table is indexed, no lock is held that a writer would wait for, and writers write."""
    async with session(plain_url) as old, session(plain_url) as writer:
        # The build waits for this transaction, so that it can be looked at while it is at it.
        transaction = old.transaction()
        await transaction.start()
        await old.execute("INSERT INTO positions (device_id, ts) VALUES ('old', now())")
        migrating = asyncio.create_task(migrate(plain_url))
        await eventually(lambda: a_build_waits(plain_url))
        modes = await writer.fetch(
            "SELECT DISTINCT mode FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE relation = 'positions'::regclass AND application_name = 'telemetry-processor'"
        )
        await asyncio.wait_for(writer.execute("INSERT INTO positions (device_id, ts) VALUES ('new', now())"), 10)
        assert not migrating.done()
        await transaction.commit()
        await migrating

    assert {row["mode"] for row in modes} == {"ShareUpdateExclusiveLock"}
    assert await index_states(plain_url) == {KEY_INDEX: True, "positions_ts_idx": True}


async def test_others_who_migrate_do_not_hold_the_build_up(plain_url: str) -> None:
    """Of several who migrate a table in use one builds the index, and those who wait for it are not waited for."""
    async with session(plain_url) as old:
        transaction = old.transaction()
        await transaction.start()
        await old.execute("INSERT INTO positions (device_id, ts) VALUES ('old', now())")
        migrating = asyncio.gather(*(migrate(plain_url) for _ in range(4)))
        await eventually(lambda: a_build_waits(plain_url))
        await transaction.commit()
        results = await migrating

    assert sorted(len(applied) for applied in results)[:3] == [0, 0, 0]


async def test_what_is_left_of_a_broken_build_is_built_again(plain_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """An invalid index is dropped, under whichever name it is, and replaced by one that works."""
    await execute(
        plain_url, "INSERT INTO positions (device_id, ts) SELECT 'a', '2026-01-01' FROM generate_series(1, 2)"
    )
    for name in (KEY_INDEX, "of_an_operator"):
        with pytest.raises(asyncpg.UniqueViolationError):
            await execute(plain_url, f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON positions (device_id, ts)")
    assert await index_states(plain_url) == {KEY_INDEX: False, "of_an_operator": False}
    await remove_duplicates(plain_url)
    await migrate(plain_url)

    assert await index_states(plain_url) == {KEY_INDEX: True, "positions_ts_idx": True}
    assert [record.levelno for record in caplog.records if "a build that broke off" in record.message] == [30, 30]


async def test_an_index_that_somebody_builds_is_waited_for(plain_url: str) -> None:
    """An index that another session is building is not taken for a broken one."""
    async with session(plain_url) as old, session(plain_url) as builder:
        transaction = old.transaction()
        await transaction.start()
        await old.execute("INSERT INTO positions (device_id, ts) VALUES ('old', now())")
        building = asyncio.create_task(
            builder.execute("CREATE UNIQUE INDEX CONCURRENTLY theirs ON positions (device_id, ts)")
        )
        await eventually(lambda: a_build_waits(plain_url))
        with pytest.raises(MigrationBusyError, match="building the index theirs"):
            await migrate(plain_url)
        await transaction.commit()
        await building
    await migrate(plain_url)

    assert await index_states(plain_url) == {"theirs": True, "positions_ts_idx": True}


async def test_a_lost_index_comes_back(url: str) -> None:
    """Migrating again mends a table whose index somebody has dropped, as the advice of a failed write says."""
    await migrate(url)
    await execute(url, f"DROP INDEX {KEY_INDEX}")
    assert await migrate(url) == []

    assert (await index_states(url))[KEY_INDEX]


async def test_a_hypertable_is_indexed_in_one_piece(
    timescale_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """TimescaleDB builds a unique index in one piece, and the log says beforehand that nobody can write meanwhile."""
    caplog.set_level(logging.INFO)
    async with session(timescale_postgres_url) as connection:
        await connection.execute(TABLE)
        await make_hypertable(connection)
    with pytest.raises(asyncpg.FeatureNotSupportedError):
        await execute(timescale_postgres_url, "CREATE UNIQUE INDEX CONCURRENTLY x ON positions (device_id, ts)")
    await migrate(timescale_postgres_url)

    assert any("NOBODY can write to the table meanwhile" in record.message for record in caplog.records)
    assert (await index_states(timescale_postgres_url))[KEY_INDEX]
