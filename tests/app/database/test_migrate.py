from __future__ import annotations

import asyncio
import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from telemetry_app.database.migrate import (
    LOCK_KEY,
    DriftError,
    MigrationError,
    migrate,
    status,
)
from tests.support.database import session
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import asyncpg

    from tests.conftest import PostgresFactory

ALL = ["0001_positions.sql", "0002_positions_faulty.sql", "0003_positions_faulty_reason.sql"]
COLUMNS = {
    "device_id": ("text", "NO"),
    "ts": ("timestamp with time zone", "NO"),
    "latitude": ("double precision", "YES"),
    "longitude": ("double precision", "YES"),
    "altitude": ("double precision", "YES"),
    "angle": ("double precision", "YES"),
    "speed": ("double precision", "YES"),
    "satellites": ("smallint", "YES"),
    "priority": ("smallint", "YES"),
    "codec": ("text", "YES"),
    "attributes": ("jsonb", "NO"),
    "ingested_at": ("timestamp with time zone", "NO"),
    "faulty": ("boolean", "NO"),
    "faulty_reason": ("text", "YES"),
}
OUR_INDEXES = {
    "CREATE INDEX positions_ts_idx ON public.positions USING btree (ts DESC)",
    "CREATE UNIQUE INDEX positions_device_ts_idx ON public.positions USING btree (device_id, ts DESC)",
}
OLD_TABLE = """
CREATE TABLE positions (device_id text NOT NULL, ts timestamptz NOT NULL, latitude double precision,
    longitude double precision, altitude double precision, angle double precision, speed double precision,
    satellites smallint, priority smallint, codec text, attributes jsonb NOT NULL DEFAULT '{}',
    ingested_at timestamptz NOT NULL DEFAULT now());
INSERT INTO positions (device_id, ts) VALUES ('old', '2026-01-01 00:00:00Z');
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations that work everywhere."""
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (n int);")
    (tmp_path / "0002_two.sql").write_text("CREATE TABLE two (n int);")
    return tmp_path


async def indexes(connection: asyncpg.Connection[Any]) -> set[str]:
    """Return the definitions of the table's indexes."""
    rows = await connection.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 'positions'")
    return {row["indexdef"] for row in rows}


async def is_hypertable(connection: asyncpg.Connection[Any]) -> bool:
    answer: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables WHERE hypertable_name = 'positions')"
    )
    return answer


async def test_the_table(postgres_url: str) -> None:
    """The table, its defaults and its two indexes are there on either kind of database."""
    assert await migrate(postgres_url) == ALL
    async with session(postgres_url) as connection:
        rows = await connection.fetch(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_name = 'positions' ORDER BY ordinal_position"
        )
        found = await indexes(connection)
        await connection.execute("INSERT INTO positions (device_id, ts) VALUES ('x', now())")
        defaults = await connection.fetchrow(
            "SELECT attributes::text, faulty, ingested_at <= now() AS stamped FROM positions"
        )

    assert {row[0]: (row[1], row[2]) for row in rows} == COLUMNS
    assert found == OUR_INDEXES
    assert defaults is not None
    assert tuple(defaults) == ("{}", False, True)


async def test_on_timescale(timescale_postgres_url: str) -> None:
    """With TimescaleDB the table is a hypertable on ts, and PostGIS is there as well."""
    await migrate(timescale_postgres_url)
    async with session(timescale_postgres_url) as connection:
        extensions = {row[0] for row in await connection.fetch("SELECT extname FROM pg_extension")}
        dimension = await connection.fetchval(
            "SELECT column_name FROM timescaledb_information.dimensions WHERE hypertable_name = 'positions'"
        )

    assert {"timescaledb", "postgis"} <= extensions
    assert dimension == "ts"


async def test_on_plain_postgres(plain_postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without TimescaleDB the log says what is missing and what kind of table there is instead."""
    caplog.set_level(logging.INFO)
    await migrate(plain_postgres_url)

    assert {
        "extension timescaledb is not available on this server, going on without it",
        "extension postgis is not available on this server, going on without it",
        "TimescaleDB is not installed: positions is a plain table, not a hypertable",
        "migration 0001_positions.sql applied",
    } <= {record.message for record in caplog.records if record.levelno == logging.INFO}


async def test_without_the_right_to_create_extensions(
    timescale_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An owner who may not create extensions gets a plain table, and the log says who could do better."""
    caplog.set_level(logging.INFO)
    role = f"role_{uuid.uuid4().hex}"
    async with session(timescale_postgres_url) as connection:
        await connection.execute(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}")
        try:
            await connection.execute(f"SET ROLE {role}")
            await migrate(connection)
            assert await indexes(connection) == OUR_INDEXES
        finally:
            await connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")

    log = [record.message for record in caplog.records]
    assert any(f"postgis is available but {role} may not create it" in line for line in log)
    assert any("TimescaleDB is not installed: positions is a plain table" in line for line in log)


async def test_extensions_that_are_there(timescale_postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """An owner without that right gets a hypertable where somebody else has created the extension."""
    caplog.set_level(logging.INFO)
    role = f"role_{uuid.uuid4().hex}"
    async with session(timescale_postgres_url) as admin:
        await admin.execute("SET client_min_messages = error; CREATE EXTENSION timescaledb; CREATE EXTENSION postgis")
        await admin.execute(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}")
        async with session(timescale_postgres_url) as connection:
            await connection.execute(f"SET ROLE {role}")
            await migrate(connection)
            hypertable = await is_hypertable(connection)
        await admin.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")

    assert hypertable
    assert not any("going on without" in record.message for record in caplog.records)


async def test_timescale_that_is_not_loaded(
    postgres_factory: PostgresFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """TimescaleDB that the server has not loaded is told and left alone, since creating it would end the session."""
    caplog.set_level(logging.INFO)
    server = postgres_factory(timescale=True, settings={"shared_preload_libraries": ""})
    assert await migrate(server.url) == ALL

    assert any("add it to shared_preload_libraries" in record.message for record in caplog.records)


async def test_again(postgres_url: str) -> None:
    """Migrating a second time does nothing."""
    await migrate(postgres_url)

    assert await migrate(postgres_url) == []


@pytest.mark.parametrize(
    "there", ["CREATE UNIQUE INDEX a ON positions (device_id, ts)", "ALTER TABLE positions ADD UNIQUE (ts, device_id)"]
)
async def test_an_older_table_with_two_indexes(postgres_url: str, there: str) -> None:
    """A table of an earlier deployment keeps its two indexes and rows, and gets no third index on the same columns."""
    async with session(postgres_url) as connection:
        await connection.execute(
            f"{OLD_TABLE}; {there}; CREATE INDEX b ON positions (device_id, ts DESC); CREATE INDEX c ON positions (ts)"
        )
        before = await indexes(connection)
        assert await migrate(connection) == ALL
        after = await indexes(connection)
        rows = await connection.fetch("SELECT device_id, faulty FROM positions")

    assert after == before
    assert [tuple(row) for row in rows] == [("old", False)]


async def test_an_older_table_without_indexes(postgres_url: str) -> None:
    """A table that has no index yet gets those that the service cannot do without."""
    async with session(postgres_url) as connection:
        await connection.execute(OLD_TABLE)
        await migrate(connection)

        assert await indexes(connection) == OUR_INDEXES


async def test_an_older_index_of_the_same_name(postgres_url: str) -> None:
    """An index that has our name but is not unique stays, and a unique one comes beside it."""
    async with session(postgres_url) as connection:
        await connection.execute(f"{OLD_TABLE}; CREATE INDEX positions_device_ts_idx ON positions (device_id, ts DESC)")
        await migrate(connection)
        unique = [definition for definition in await indexes(connection) if "UNIQUE" in definition]

    assert unique == [
        "CREATE UNIQUE INDEX positions_device_ts_key ON public.positions USING btree (device_id, ts DESC)"
    ]


async def test_an_older_hypertable(timescale_postgres_url: str) -> None:
    """A hypertable of an earlier deployment is taken as it is."""
    async with session(timescale_postgres_url) as connection:
        await connection.execute("SET client_min_messages = error; CREATE EXTENSION timescaledb")
        await connection.execute(
            "CREATE TABLE positions AS SELECT 'old'::text AS device_id, now() AS ts, 0.0::float8 AS latitude,"
            " 0.0::float8 AS longitude, 0.0::float8 AS altitude, 0.0::float8 AS angle, 0.0::float8 AS speed,"
            " 0::int2 AS satellites, 0::int2 AS priority, ''::text AS codec, '{}'::jsonb AS attributes"
        )
        await connection.execute("SELECT create_hypertable('positions', 'ts', migrate_data => true)")
        await migrate(connection)

        assert await is_hypertable(connection)
        assert await connection.fetchval("SELECT count(*) FROM positions") == 1


async def test_an_older_plain_table_on_timescale(timescale_postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A plain table with rows is not rewritten on its own account; the log says how to make a hypertable of it."""
    caplog.set_level(logging.INFO)
    async with session(timescale_postgres_url) as connection:
        await connection.execute(OLD_TABLE)
        await migrate(connection)

        assert not await is_hypertable(connection)
    assert any("migrate_data => true" in record.message for record in caplog.records)


async def test_another_table_of_that_name(postgres_url: str) -> None:
    """A table of that name which lacks columns is refused by name, and nothing is changed."""
    async with session(postgres_url) as connection:
        await connection.execute("CREATE TABLE positions (device_id text, ts timestamptz, speed float8)")
        with pytest.raises(MigrationError, match=r"^0001_positions\.sql failed .*no column latitude, longitude"):
            await migrate(connection)

        assert await connection.fetchval("SELECT count(*) FROM schema_migrations") == 0
        assert await indexes(connection) == set()


async def test_twelve_connections_at_once(postgres_url: str) -> None:
    """Of twelve who migrate at the same moment one does all of it and eleven find nothing to do."""
    results = await asyncio.gather(*(migrate(postgres_url) for _ in range(12)))

    assert sorted(results) == [[]] * 11 + [ALL]


async def test_somebody_else_migrates(plain_postgres_url: str, folder: Path) -> None:
    """A lock that is held for longer than the limit ends in a sentence, and the next try works once it is free."""
    async with session(plain_postgres_url) as other, session(plain_postgres_url) as connection:
        await other.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        with pytest.raises(MigrationError, match=r"for more than 0\.05 s"):
            await migrate(connection, folder=folder, lock_timeout_s=0.05)
        await other.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)

        assert await migrate(connection, folder=folder) == ["0001_one.sql", "0002_two.sql"]


async def test_the_lock_is_given_back(plain_postgres_url: str, folder: Path) -> None:
    """A connection that stays open after migrating, well or not, holds no lock and no changed limit."""
    async with session(plain_postgres_url) as connection, session(plain_postgres_url) as other:
        await connection.execute("SET lock_timeout = 0")
        await migrate(connection, folder=folder)
        (folder / "0003_bad.sql").write_text("nonsense")
        with pytest.raises(MigrationError):
            await migrate(connection, folder=folder)

        assert await other.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY) is True
        assert await connection.fetchval("SHOW lock_timeout") == "0"


async def test_one_transaction_each(plain_postgres_url: str, folder: Path) -> None:
    """A file that fails leaves nothing behind, those before it stay, and it is applied once it is fixed."""
    (folder / "0003_bad.sql").write_text("CREATE TABLE three (n int); SELECT 1/0;")
    async with session(plain_postgres_url) as connection:
        with pytest.raises(
            MigrationError, match=r"^0003_bad\.sql failed and was rolled back \(22012: division by zero"
        ):
            await migrate(connection, folder=folder)
        assert await connection.fetchval("SELECT to_regclass('three') IS NULL AND to_regclass('two') IS NOT NULL")
        (folder / "0003_bad.sql").write_text("CREATE TABLE three (n int);")

        assert await migrate(connection, folder=folder) == ["0003_bad.sql"]


async def test_a_lock_that_others_hold(plain_postgres_url: str, folder: Path) -> None:
    """A migration that needs a table in use lets others pass while it waits, and is applied when the table is free."""
    await migrate(plain_postgres_url, folder=folder)
    (folder / "0003_three.sql").write_text("ALTER TABLE one ADD COLUMN m int;")
    async with session(plain_postgres_url) as reader, session(plain_postgres_url) as other:
        transaction = reader.transaction()
        await transaction.start()
        await reader.execute("SELECT FROM one")
        migrating = asyncio.create_task(migrate(plain_postgres_url, folder=folder))
        await eventually(lambda: _waits_for_a_lock(plain_postgres_url))
        # It gives way: the lock is asked for, and not asked for, in turns.
        await eventually(lambda: _waits_for_no_lock(plain_postgres_url))
        await other.execute("INSERT INTO one VALUES (1)")
        assert not migrating.done()
        await transaction.rollback()

        assert await migrating == ["0003_three.sql"]


async def _waits_for_a_lock(url: str) -> bool:
    async with session(url) as connection:
        waits: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock')"
        )
    return waits


async def _waits_for_no_lock(url: str) -> bool:
    return not await _waits_for_a_lock(url)


async def test_a_changed_file(plain_postgres_url: str, folder: Path) -> None:
    """A file that was changed after it was applied is refused by name, and nothing after it is applied."""
    await migrate(plain_postgres_url, folder=folder)
    (folder / "0001_one.sql").write_text("CREATE TABLE one (n bigint);")
    (folder / "0003_three.sql").write_text("CREATE TABLE three (n int);")

    with pytest.raises(DriftError, match=r"^0001_one\.sql was changed after it was applied on .*: restore the file"):
        await migrate(plain_postgres_url, folder=folder)
    assert [row.state for row in await status(plain_postgres_url, folder=folder)] == ["changed", "applied", "pending"]


async def test_a_downgrade(plain_postgres_url: str, folder: Path) -> None:
    """A database that a newer release has migrated is refused, with the file that is missing here."""
    await migrate(plain_postgres_url, folder=folder)
    (folder / "0002_two.sql").unlink()

    with pytest.raises(DriftError, match=r"^The database has 0002_two\.sql, which this release does not have: .*newer"):
        await migrate(plain_postgres_url, folder=folder)
    assert [row.state for row in await status(plain_postgres_url, folder=folder)] == ["applied", "unknown"]


async def test_a_hole_in_the_history(plain_postgres_url: str, folder: Path) -> None:
    """A database that has a migration without the one before it is refused."""
    await migrate(plain_postgres_url, folder=folder)
    async with session(plain_postgres_url) as connection:
        await connection.execute("DELETE FROM schema_migrations WHERE version = 1")

    with pytest.raises(DriftError, match=r"^The database has 0002_two\.sql but not 0001_one\.sql before it"):
        await migrate(plain_postgres_url, folder=folder)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("0004_four.sql", r"^0004_four\.sql stands where number 0003 belongs"),
        ("0002_again.sql", r"^0002_two\.sql stands where number 0003 belongs"),
        ("3_three.sql", r"^3_three\.sql is not named like"),
    ],
)
async def test_misnumbered_files(plain_postgres_url: str, folder: Path, name: str, sentence: str) -> None:
    """Files with a gap, a repeat or another kind of name are refused by name, before the database is touched."""
    (folder / name).write_text("SELECT 1")

    with pytest.raises(MigrationError, match=sentence):
        await migrate(plain_postgres_url, folder=folder)
    async with session(plain_postgres_url) as connection:
        assert await connection.fetchval("SELECT to_regclass('schema_migrations')") is None


async def test_status(postgres_url: str) -> None:
    """Status tells what is pending and what was applied when, and applies nothing."""
    before = await status(postgres_url)
    await migrate(postgres_url)
    after = await status(postgres_url)

    assert [(row.version, row.name, row.state, row.applied_at) for row in before] == [
        (1, "positions", "pending", None),
        (2, "positions_faulty", "pending", None),
        (3, "positions_faulty_reason", "pending", None),
    ]
    assert [row.state for row in after] == ["applied"] * 3
    assert all(row.applied_at for row in after)
