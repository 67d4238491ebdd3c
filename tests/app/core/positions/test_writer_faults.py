import asyncio
import contextlib
import logging
import math
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from telemetry_app.core.positions.writer import PositionWriter
from telemetry_app.core.sink import WriteAbandoned
from telemetry_app.database.backoff import Backoff
from telemetry_app.database.migrate import migrate
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from tests.app.core.positions.writing import Desk, WriteResult, desk, stored, writer_waits, writing
from tests.conftest import PostgresFactory, ProxyFactory
from tests.support.database import session
from tests.support.records import position, positions
from tests.support.servers.proxy import TcpProxy, url_through
from tests.support.servers.server import TEST_SETTINGS
from tests.support.waiting import eventually

# What a test that hangs is ended by; nothing here asserts how long something took.
FOREVER_S = 60
INSERT = "INSERT INTO positions (device_id, ts) VALUES ($1, $2)"
#: Before its second row the writer waits until somebody waits for its first: it closes the circle, whoever is slow.
_WAITS_TO_BE_WAITED_FOR = """
CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
  IF NEW.ts = '2026-05-02 12:00:01Z' AND current_setting('application_name') = 'telemetry-processor' THEN
    WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid)
        AND NOT EXISTS (SELECT FROM positions WHERE device_id = NEW.device_id AND ts = NEW.ts) LOOP
      PERFORM pg_sleep(0.01);
    END LOOP;
  END IF;
  RETURN NEW;
END$$;
CREATE TRIGGER meet BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION meet()
"""


@pytest.fixture
def url(table_url: str) -> str:
    """A database with the table."""
    return table_url


@pytest.fixture
async def server(postgres_factory: PostgresFactory) -> EmbeddedPostgres:
    """A server of the test's own, with the table."""
    server = postgres_factory()
    await migrate(server.url)
    return server


@pytest.fixture
async def proxy(tcp_proxy: ProxyFactory, url: str) -> TcpProxy:
    """A proxy in front of the server of `url`."""
    parts = urlsplit(url)
    return await tcp_proxy(parts.hostname, parts.port)


@contextlib.asynccontextmanager
async def keep_writing(it: Desk) -> AsyncIterator[list[int]]:
    """Write batches of 20 one after the other until the block ends; give the list of seconds written by then."""
    written: list[int] = []
    enough = asyncio.Event()

    async def write_on() -> None:
        while not enough.is_set():
            batch = range(len(written), len(written) + 20)
            result = await it.write(positions(20, first=batch.start))
            assert (result.inserted + result.duplicates, result.refused) == (20, ())
            written.extend(batch)

    task = asyncio.create_task(write_on())
    try:
        yield written
        enough.set()
        await asyncio.wait_for(task, FOREVER_S)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_down_at_the_start(server: EmbeddedPostgres) -> None:
    """A worker that starts before its database writes as soon as the database is there."""
    url = server.url
    server.stop()
    async with desk(url) as it, writing(it) as write:
        await eventually(it.failing)
        server.start()
        result = await write

    assert result == WriteResult(inserted=10, duplicates=0, refused=())
    assert await stored(url) == list(range(10))


async def test_killed_and_restarted(server: EmbeddedPostgres) -> None:
    """Rows are all there, once, after the server crashed three times while they were written."""
    async with desk(server.url) as it, keep_writing(it) as written:
        for crash in range(1, 4):
            await eventually(it.has_inserted(crash * 400))
            server.stop("immediate")
            await eventually(it.failing)
            it.observed.retries.clear()
            server.start()

    assert len(written) >= 1200
    assert await stored(server.url) == written


async def test_connections_are_cut(url: str, proxy: TcpProxy) -> None:
    """Rows are all there, once, after connections were cut again and again in the middle of a statement."""
    async with desk(url_through(proxy, url)) as it, keep_writing(it) as written:
        while it.observed.retries.total() < 5:
            await eventually(it.has_inserted(it.observed.rows["inserted"] + 1))
            proxy.cut()

    assert await stored(url) == written


async def test_connections_are_refused(url: str, proxy: TcpProxy) -> None:
    """A database that nobody can connect to is tried again until it answers."""
    async with desk(url_through(proxy, url)) as it:
        await proxy.refuse()
        async with writing(it) as write:
            await eventually(it.failing)
            await proxy.accept()
            assert (await write).inserted == 10


async def test_a_lost_reply(url: str, proxy: TcpProxy) -> None:
    """A batch that was stored though the reply was lost is repeated, and its rows come out as duplicates."""
    async with desk(url_through(proxy, url), size=1) as it, session(url) as other:
        # Once prepared, the statement and its rows go out in one piece and only their reply is left to be lost.
        await it.write([position(99)])
        lock = other.transaction()
        await lock.start()
        await other.execute("LOCK TABLE positions")
        async with writing(it) as write:
            await eventually(lambda: writer_waits(url))
            proxy.stall()
            await lock.rollback()
            await eventually(lambda: other.fetchval("SELECT count(*) = 11 FROM positions"))
            proxy.cut()
            proxy.flow()
            result = await write

    assert result == WriteResult(inserted=0, duplicates=10, refused=())
    assert await stored(url) == [*range(10), 99]


async def test_a_stalled_connection(url: str, proxy: TcpProxy) -> None:
    """A connection on which nothing comes back is given up, and not used again when it comes to life."""
    async with desk(url_through(proxy, url), size=1) as it:
        await it.write([position(0)])
        proxy.stall()
        it.writer._attempt_timeout_s, usual = 0.3, it.writer._attempt_timeout_s
        async with writing(it) as write:
            await eventually(lambda: it.observed.retries["TimeoutError"] > 1)
            it.writer._attempt_timeout_s = usual
            proxy.flow()
            result = await write

    assert result.inserted + result.duplicates == 10
    assert await stored(url) == list(range(10))


async def test_out_of_connections(postgres_factory: PostgresFactory) -> None:
    """A server without a free connection is tried again until there is one."""
    limits = {"max_connections": "5", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    server = postgres_factory(settings={**TEST_SETTINGS, **limits})
    await migrate(server.url)
    async with contextlib.AsyncExitStack() as others, desk(server.url, size=1) as it:
        first = await others.enter_async_context(session(server.url))
        # The session that has migrated may still be there.
        count = "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
        await eventually(lambda: first.fetchval(count))
        for _ in range(4):
            await others.enter_async_context(session(server.url))
        async with writing(it) as write:
            await eventually(lambda: it.observed.retries["TooManyConnectionsError"] > 1)
            await others.aclose()
            assert (await write).inserted == 10


async def test_read_only(url: str) -> None:
    """A server that has become read-only is tried again until it takes writes."""
    database = urlsplit(url).path[1:]
    async with session(url) as other:
        await other.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
        async with desk(url) as it, writing(it) as write:
            await eventually(lambda: it.observed.retries["ReadOnlySQLTransactionError"] > 1)
            await other.execute("SET default_transaction_read_only = off")
            await other.execute(f'ALTER DATABASE "{database}" RESET default_transaction_read_only')
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'telemetry-processor' AND datname = current_database()"
            )
            result = await write

    # The session that was ended may have been a new one, which had stored everything and not said so yet.
    assert result.inserted + result.duplicates == 10
    assert await stored(url) == list(range(10))


async def test_in_recovery(server: EmbeddedPostgres) -> None:
    """A standby takes no writes and says so to readiness; once promoted it takes them."""
    server.stop()
    _make_standby(server)
    server.start()
    async with desk(server.url) as it, writing(it) as write:
        await eventually(lambda: it.observed.retries["ReadOnlySQLTransactionError"] > 1)
        assert await it.postgres.why_not_ready() == "Postgres is in recovery and takes no writes."
        async with session(server.url) as other:
            await other.fetchval("SELECT pg_promote()")
        assert (await write).inserted == 10
        assert await it.postgres.why_not_ready() is None


def _make_standby(server: EmbeddedPostgres) -> None:
    signal_file = server._cluster / "standby.signal"
    signal_file.touch()
    owner = server._cluster.stat()
    os.chown(signal_file, owner.st_uid, owner.st_gid)


async def test_deadlock(url: str) -> None:
    """A batch that the server sacrifices to end a deadlock is written again."""
    database = urlsplit(url).path[1:]
    async with session(url) as other, desk(url) as it:
        await other.execute(f"ALTER DATABASE \"{database}\" SET deadlock_timeout = '100ms'")
        await other.execute("SET deadlock_timeout = '1h'")
        await other.execute(_WAITS_TO_BE_WAITED_FOR)
        first, second = positions(2)
        # With its chunk there already the statements below wait for each other's rows, not for the chunk.
        await it.write([position(3)])
        transaction = other.transaction()
        await transaction.start()
        await other.execute(INSERT, second.device_id, second.ts)
        async with writing(it, 3) as write:
            await eventually(lambda: writer_waits(url, "PgSleep"))
            await other.execute(INSERT, first.device_id, first.ts)
            await eventually(lambda: it.observed.retries["DeadlockDetectedError"])
            await transaction.commit()
            result = await write

    assert result == WriteResult(inserted=1, duplicates=0, refused=(), merged=2)
    assert await stored(url) == [0, 1, 2, 3]


async def test_serialization_failure(url: str) -> None:
    """A batch that fails because it cannot be serialized with another transaction is written again."""
    database = urlsplit(url).path[1:]
    async with session(url) as other, desk(url) as it:
        await other.execute(f"ALTER DATABASE \"{database}\" SET default_transaction_isolation = 'serializable'")
        transaction = other.transaction()
        await transaction.start()
        await other.execute(INSERT, position(0).device_id, position(0).ts)
        async with writing(it, 3) as write:
            await eventually(lambda: writer_waits(url))
            await transaction.commit()
            result = await write

    assert it.observed.retries["SerializationError"] >= 1
    assert result == WriteResult(inserted=2, duplicates=0, refused=(), merged=1)
    assert await stored(url) == [0, 1, 2]


async def test_statement_timeout(url: str) -> None:
    """A batch that takes longer than a statement may is tried again."""
    async with session(url) as other, desk(url, statement_timeout_ms=500) as it:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("LOCK TABLE positions")
        async with writing(it) as write:
            await eventually(lambda: it.observed.retries["QueryCanceledError"] > 1)
            await transaction.rollback()
            assert (await write).inserted == 10


async def test_no_table(postgres_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the table the batch waits, and the log says once what to do."""
    monkeypatch.setattr("telemetry_app.core.positions.writer.COMPLAIN_EVERY_S", math.inf)
    async with desk(postgres_url) as it, writing(it) as write:
        await eventually(it.failing)
        assert "run `telemetry migrate`" in (await it.writer.why_not_ready() or "")
        await migrate(postgres_url)
        assert (await write).inserted == 10
        assert await it.writer.why_not_ready() is None

    advice = [record for record in caplog.records if "run `telemetry migrate`" in record.message]
    assert [record.levelno for record in advice] == [logging.WARNING]


async def test_no_unique_index(url: str) -> None:
    """Without its index a table with rows takes none: no row is refused for it, and all wait until it is back."""
    async with session(url) as other, desk(url) as it:
        await it.write([position(99)])
        await other.execute("DROP INDEX positions_device_ts_idx")
        async with writing(it, 3) as write:
            # More often than a row may fail alone.
            await eventually(lambda: it.observed.retries["InvalidColumnReferenceError"] > 20, timeout_s=30)
            assert (write.done(), it.observed.rows["failed"]) == (False, 0)
            await migrate(url)
            result = await write

    assert result == WriteResult(inserted=3, duplicates=0, refused=())


async def test_no_permission(url: str) -> None:
    """Without the right to insert nothing is refused: the batch waits for the right."""
    role = f"role_{uuid.uuid4().hex}"
    async with session(url) as other:
        await other.execute(f"CREATE ROLE {role} LOGIN")
        try:
            parts = urlsplit(url)
            theirs = parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}").geturl()
            async with desk(theirs) as it, writing(it) as write:
                await eventually(lambda: it.observed.retries["InsufficientPrivilegeError"] > 1)
                await other.execute(f"GRANT INSERT, SELECT ON positions TO {role}")
                assert (await write).inserted == 10
        finally:
            await other.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [("raise_exception", "RaiseError", "trying again"), ("disk_full", "DiskFullError", "free disk space")],
)
async def test_errors_that_are_nobodys_fault_keep_the_data(
    url: str, caplog: pytest.LogCaptureFixture, code: str, kind: str, advice: str
) -> None:
    """What is not known to be a row's fault, as an error of a trigger or a full disk, refuses none: the batch waits."""
    async with session(url) as other, desk(url) as it:
        await other.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql "
            f"AS $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END$$;"
            "CREATE TRIGGER fail BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION fail()"
        )
        async with writing(it) as write:
            await eventually(lambda: it.observed.retries[kind] > 1)
            assert (write.done(), it.observed.rows.total()) == (False, 0)
            await other.execute("DROP TRIGGER fail ON positions")
            result = await write

    assert result == WriteResult(inserted=10, duplicates=0, refused=())
    assert advice in caplog.text


async def test_a_refused_row_while_the_server_restarts(server: EmbeddedPostgres) -> None:
    """Failures that pass, in the middle of looking for a refused row, refuse nothing else."""
    bad: dict[int, dict[str, Any]] = {5: {"attributes": b'{"x":"\\u0000"}'}, 1500: {"satellites": 40_000}}
    batch = [position(n, **bad.get(n, {})) for n in range(2000)]
    async with desk(server.url, max_rows=20) as it:
        other = await asyncpg.connect(server.url)
        await other.execute("BEGIN")  # holds the writer up in the middle
        await other.execute(INSERT, position(900).device_id, position(900).ts)
        write = asyncio.create_task(it.write(batch))
        await eventually(lambda: writer_waits(server.url))
        server.stop("immediate")
        other.terminate()
        await eventually(it.failing)
        server.start()
        result = await asyncio.wait_for(write, FOREVER_S)

    assert [refused.index for refused in result.refused] == list(bad)
    assert result.inserted + result.duplicates == 1998
    assert await stored(server.url) == [n for n in range(2000) if n not in bad]


async def test_abandoned_while_waiting(server: EmbeddedPostgres) -> None:
    """Stopping ends the wait between two attempts, however long it is."""
    server.stop()
    async with desk(server.url) as it:
        writer = PositionWriter(
            it.postgres,
            max_rows=10,
            observer=it.observed,
            stopping=it.stopping,
            backoff=Backoff(first_s=1e6, longest_s=1e6),
        )
        write = asyncio.create_task(writer.write(positions(30)))
        await eventually(it.observed.retries.total)
        it.stopping.set()
        with pytest.raises(WriteAbandoned):
            await asyncio.wait_for(write, FOREVER_S)


async def test_abandoned_while_stalled(url: str, proxy: TcpProxy) -> None:
    """Stopping gives up a batch whose connection has stalled, after the attempt's own limit."""
    async with desk(url_through(proxy, url), attempt_timeout_s=0.3) as it:
        proxy.stall()
        it.stopping.set()
        with pytest.raises(WriteAbandoned, match="TimeoutError"):
            await asyncio.wait_for(it.write(positions(30)), FOREVER_S)
