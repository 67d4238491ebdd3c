"""Rows that the database refuses for reasons of its operators, and databases that refuse everything."""

import asyncio
from typing import Any, Final

import asyncpg
import pytest

from telemetry_app.core.write_queue import WriteQueue
from telemetry_app.database.migrate import migrate
from tests.app.core.positions.writing import WriteResult, desk, stored, writing
from tests.app.core.sinks import decoded
from tests.conftest import PostgresFactory
from tests.support.database import session
from tests.support.records import position, positions
from tests.support.servers.server import TEST_SETTINGS
from tests.support.waiting import eventually

BAD: Final = "356307042449999"
OTHER: Final = "356307042440001"


@pytest.fixture
async def url(plain_postgres_url: str) -> str:
    """A database with the table."""
    await migrate(plain_postgres_url)
    return plain_postgres_url


def raising(code: str, condition: str) -> str:
    """Return statements that make a trigger which refuses rows of which a condition is true."""
    return (
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"IF {condition} THEN RAISE EXCEPTION 'device not welcome' USING ERRCODE = '{code}'; END IF; "
        "RETURN NEW; END$$; CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON positions FOR EACH ROW "
        "EXECUTE FUNCTION refuse()"
    )


async def execute(url: str, statement: str) -> None:
    async with session(url) as connection:
        await connection.execute(statement)


#: What refuses one device, the reason in the dead letter, the server's statement timeout in ms.
REFUSALS: Final[list[Any]] = [
    *(
        pytest.param(raising(code, f"NEW.device_id = '{BAD}'"), "device not welcome", 5000, id=code)
        for code in ("P0001", "0A000", "53400", "42501", "22023")
    ),
    pytest.param(f"ALTER TABLE positions ADD CHECK (device_id <> '{BAD}')", "device_id_check", 5000, id="check"),
    pytest.param(
        "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"IF NEW.device_id = '{BAD}' THEN PERFORM pg_sleep(30); END IF; RETURN NEW; END$$; "
        "CREATE TRIGGER stall BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION stall()",
        "statement timeout",
        150,
        id="timeout",
    ),
    pytest.param(
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"IF NEW.device_id = '{BAD}' THEN RAISE EXCEPTION 'not at the end either'; END IF; RETURN NULL; END$$; "
        "CREATE CONSTRAINT TRIGGER later AFTER INSERT ON positions DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION later()",
        "not at the end either",
        5000,
        id="deferred",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "reason", "timeout_ms"), REFUSALS)
async def test_a_refused_device_keeps_nothing_else_out(url: str, statement: str, reason: str, timeout_ms: int) -> None:
    """Whatever the code, its row is refused with the database's words, and the 99 others of the batch are stored."""
    await execute(url, statement)
    batch = positions(100)
    batch[42] = position(42, device_id=BAD)
    async with desk(url, statement_timeout_ms=timeout_ms) as it:
        result = await it.write(batch)
        assert await it.writer.why_not_ready() is None

    assert (result.inserted, [row.index for row in result.refused]) == (99, [42])
    assert reason in result.refused[0].reason
    assert it.observed.troubles == [1, 0]
    assert await stored(url) == [n for n in range(100) if n != 42]


async def test_finding_a_row_that_times_out_does_not_take_the_whole_timeout_each_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Smaller pieces are given less, by us instead of the server, whose statements end with that as well."""
    monkeypatch.setattr("telemetry_app.core.positions.trial._SHORT_TRY_S", 0.7)
    # The first statement, as if it had taken the whole timeout; in truth none of this test's gets there.
    await execute(
        url,
        "CREATE SEQUENCE tried; CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"IF NEW.device_id = '{BAD}' THEN IF nextval('tried') = 1 THEN RAISE 'slow' USING ERRCODE = '57014'; END IF; "
        "PERFORM pg_sleep(600); END IF; RETURN NEW; END$$; "
        "CREATE TRIGGER stall BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION stall()",
    )
    batch = positions(8)
    batch[3] = position(3, device_id=BAD)
    async with desk(url, size=1, statement_timeout_ms=600_000, refuse_after=2) as it, session(url) as other:
        result = await it.write(batch)
        assert (result.inserted, [row.index for row in result.refused]) == (7, [3])
        assert "no answer within" in result.refused[0].reason
        assert (await it.write(positions(9))).inserted == 2

        async def nobody_sleeps() -> bool:
            sleeping: int = await other.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            return sleeping == 0

        await eventually(nobody_sleeps, message="the statements have been ended")


async def test_row_level_security_refuses_rows_alone(url: str) -> None:
    """The same code as a missing right, but others pass: the row is refused."""
    role = f"role_{url[-12:]}"
    async with session(url) as other:
        await other.execute(
            f"CREATE ROLE {role} LOGIN; GRANT INSERT, SELECT ON positions TO {role};"
            "ALTER TABLE positions ENABLE ROW LEVEL SECURITY; CREATE POLICY see ON positions FOR SELECT USING (true);"
            f"CREATE POLICY take ON positions FOR INSERT WITH CHECK (device_id <> '{BAD}')"
        )
        try:
            async with desk(url.replace("postgres@", f"{role}@", 1)) as it:
                result = await it.write([*positions(10), position(10, device_id=BAD)])
        finally:
            await other.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert [row.index for row in result.refused] == [10]
    assert "row-level security" in result.refused[0].reason


@pytest.mark.parametrize("often", [1, 3])
async def test_a_row_is_refused_when_it_has_failed_as_often_as_told(url: str, often: int) -> None:
    """It is tried alone `refuse_after` times, since what keeps it out may pass."""
    await execute(
        url,
        "CREATE SEQUENCE tried; " + raising("P0001", f"NEW.device_id = '{BAD}' AND nextval('tried') > 0"),
    )
    async with desk(url, refuse_after=often) as it, session(url) as other:
        await it.write(positions(2))
        result = await it.write([position(2, device_id=BAD)])
        tried = await other.fetchval("SELECT last_value FROM tried")

    assert len(result.refused) == 1
    # Three equal failures come before anything is taken apart; the third of them counts as the first alone.
    assert tried == 2 + often


async def test_most_rows_of_a_batch_are_refused(url: str) -> None:
    """Nine of ten rows of a refused device cost no good row."""
    await execute(url, raising("P0001", f"NEW.device_id = '{BAD}'"))
    batch = [position(n) if n % 10 == 0 else position(n, device_id=BAD) for n in range(100)]
    async with desk(url) as it:
        result = await it.write(batch)

    assert (result.inserted, len(result.refused)) == (10, 90)


async def test_a_lone_row_in_a_quiet_stream_is_judged_by_a_probe(url: str) -> None:
    """With nothing else to write, whether another device's row would pass tells the row from the database."""
    await execute(url, raising("P0001", f"NEW.device_id = '{BAD}'"))
    async with desk(url) as it:
        await it.write([position(0)])
        result = await it.write([position(1, device_id=BAD)])

    assert len(result.refused) == 1
    assert await stored(url) == [0]  # the probe left nothing behind


@pytest.mark.parametrize("rows", [1, 10])
async def test_when_nothing_passes_everything_waits(url: str, rows: int) -> None:
    """A trigger that refuses every row is the database's state: nothing is refused, and readiness says what it is."""
    async with desk(url) as it:
        await it.write([position(-1, device_id=OTHER)])
        await execute(url, raising("P0001", "true"))
        async with writing(it, rows) as write:
            await eventually(lambda: it.observed.retries["RaiseError"] > 12)
            assert (write.done(), it.observed.rows["failed"]) == (False, 0)
            assert "device not welcome" in (await it.writer.why_not_ready() or "")
            await execute(url, "DROP TRIGGER refuse ON positions")
            assert await write == WriteResult(inserted=rows, duplicates=0, refused=())
            assert await it.writer.why_not_ready() is None


async def test_a_lone_row_of_the_first_device_waits_until_another_passes(url: str) -> None:
    """Without any other row nothing tells a bad row from a bad database; the next one that passes does."""
    await execute(url, raising("P0001", f"NEW.device_id = '{BAD}'"))
    async with desk(url) as it:
        write = asyncio.create_task(it.writer.write([position(0, device_id=BAD)]))
        await eventually(lambda: it.observed.retries["RaiseError"] > 12)
        assert not write.done()
        assert "device not welcome" in (await it.writer.why_not_ready() or "")
        await it.writer.write([position(1)])
        assert [row.index for row in await asyncio.wait_for(write, 30)] == [0]


async def test_the_state_changes_while_a_batch_is_halved(url: str) -> None:
    """Rows that fail because a right is taken away in the middle are not the refused device's fault."""
    await execute(
        url,
        raising("42501", f"NEW.device_id = '{BAD}' OR NEW.ts > '2026-05-02 12:00:30Z'"),
    )
    batch = positions(64)
    batch[7] = position(7, device_id=BAD)
    async with desk(url) as it:
        write = asyncio.create_task(it.write(batch))
        await eventually(it.has_inserted(20))
        await execute(url, raising("42501", "true"))
        tries = it.observed.retries.total()
        await eventually(lambda: it.observed.retries.total() > tries + 20)
        assert it.observed.rows["failed"] <= 1
        await execute(url, raising("42501", f"NEW.device_id = '{BAD}'"))
        result = await asyncio.wait_for(write, 60)

    assert [row.index for row in result.refused] == [7]
    assert result.inserted == 63


async def test_a_full_disk_is_never_a_rows_fault(url: str) -> None:
    """Although others pass, as they do where they need no new file, the row waits; it is stored when there is room."""
    await execute(url, raising("53100", f"NEW.device_id = '{BAD}'"))
    batch = positions(10)
    batch[3] = position(3, device_id=BAD)
    async with desk(url, refuse_after=1) as it:
        write = asyncio.create_task(it.write(batch))
        await eventually(lambda: it.observed.retries["DiskFullError"] > 12)
        assert (write.done(), it.observed.rows) == (False, {"inserted": 9, "duplicates": 0})
        await execute(url, "DROP TRIGGER refuse ON positions")
        assert (await asyncio.wait_for(write, 30)).inserted == 10


async def test_a_column_that_no_record_fills_refuses_nothing(url: str) -> None:
    """A NOT NULL column without a default, as a form's required field makes, is the table's fault."""
    await execute(url, "ALTER TABLE positions ADD COLUMN boat text NOT NULL")
    async with desk(url) as it, writing(it) as write:
        await eventually(lambda: it.observed.retries["NotNullViolationError"] > 8)
        assert "a default" in (await it.writer.why_not_ready() or "")
        await execute(url, "ALTER TABLE positions ALTER COLUMN boat SET DEFAULT ''")
        assert (await write).inserted == 10


async def test_a_batch_over_more_chunks_than_the_server_has_locks_for(postgres_factory: PostgresFactory) -> None:
    """Years of weekly chunks in one upload are stored although the server is out of shared memory."""
    settings = {
        **TEST_SETTINGS,
        "max_connections": "20",
        "max_locks_per_transaction": "10",
        "max_worker_processes": "8",
    }
    server = postgres_factory(timescale=True, settings=settings)
    await migrate(server.url)
    async with desk(server.url, statement_timeout_ms=20_000, attempt_timeout_s=25) as it:
        result = await it.write([position(-604_800 * week) for week in range(250)])

    assert result == WriteResult(inserted=250, duplicates=0, refused=())
    assert it.observed.retries["OutOfMemoryError"] >= 1


async def test_batches_in_trouble_give_their_places_to_others(url: str) -> None:
    """With two places and three batches in trouble for good, a fourth is stored; the three wait beside it."""
    hold = await asyncpg.connect(url)
    await hold.execute("SELECT pg_advisory_lock(1)")
    await execute(
        url,
        "CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"IF NEW.device_id = '{BAD}' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF; RETURN NEW; END$$; "
        "CREATE TRIGGER waits BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION waits()",
    )
    async with desk(url, size=4, statement_timeout_ms=200, refuse_after=1000) as it:
        queue = WriteQueue([it.writer], concurrency=2, stopping=it.stopping)
        async with queue:
            troubled = [decoded({"device_id": BAD, "timestamp": f"2026-05-02T13:00:0{n}Z"}) for n in range(3)]
            for batch, _ in troubled:
                await asyncio.wait_for(queue.submit(batch), 30)
            good, delivery = decoded()
            await asyncio.wait_for(queue.submit(good), 30)
            await eventually(lambda: delivery.said == ["settled"], timeout_s=30)
            assert [d.said for _, d in troubled] == [[], [], []]
            await hold.close()
            await eventually(lambda: all(d.said == ["settled"] for _, d in troubled), timeout_s=30)
            it.stopping.set()
