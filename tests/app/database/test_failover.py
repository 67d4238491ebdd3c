"""Writing goes on by itself when another server has become the one that takes writes."""

import contextlib
import os
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import pytest

from telemetry_app.database.ailing import Ailing
from telemetry_app.database.migrate import migrate
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from tests.app.core.positions.writing import desk, stored, writing
from tests.conftest import PostgresFactory, ProxyFactory
from tests.support.database import pool, session
from tests.support.records import positions
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually

#: A session that began before the mark fails, as those do that have an extension's former library.
_OLD_SESSIONS_FAIL: Final = """
CREATE TABLE mark (at timestamptz);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
  IF (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) < (SELECT max(at) FROM mark) THEN
    RAISE EXCEPTION 'could not access file "$libdir/timescaledb-2.19.2"' USING ERRCODE = '58P01';
  END IF;
  RETURN NEW;
END$$;
CREATE TRIGGER refuse BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.fixture
async def primary(postgres_factory: PostgresFactory) -> EmbeddedPostgres:
    """A server that takes writes, with the table."""
    server = postgres_factory()
    await migrate(server.url)
    return server


@pytest.fixture
async def standby(postgres_factory: PostgresFactory) -> EmbeddedPostgres:
    """A server in recovery, with the table."""
    server = postgres_factory()
    await migrate(server.url)
    server.stop()
    signal_file = server._cluster / "standby.signal"
    signal_file.touch()
    owner = server._cluster.stat()
    os.chown(signal_file, owner.st_uid, owner.st_gid)
    server.start()
    return server


def both(*servers: EmbeddedPostgres) -> str:
    """Return the URL that names servers and wants the one that takes writes."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"


async def test_sessions_that_have_become_read_only_are_replaced(plain_postgres_url: str) -> None:
    """They would stay so for as long as they are used, which is for ever."""
    url = plain_postgres_url
    await migrate(url)
    database = urlsplit(url).path[1:]
    async with session(url) as other:
        await other.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
        async with desk(url) as it, writing(it) as write:
            await eventually(it.failing)
            assert await it.postgres.why_not_ready() == "Postgres is read-only and takes no writes."
            await other.execute("SET default_transaction_read_only = off")
            await other.execute(f'ALTER DATABASE "{database}" RESET default_transaction_read_only')
            assert (await write).inserted == 10
            assert await it.postgres.why_not_ready() is None


async def test_a_forwarder_pointed_to_a_standby_for_a_while(
    primary: EmbeddedPostgres, standby: EmbeddedPostgres, tcp_proxy: ProxyFactory
) -> None:
    """The healthy connections to the standby are replaced; everything is on the primary in the end."""
    proxy = await tcp_proxy("127.0.0.1", primary.port)
    async with desk(url_through(proxy, primary.url)) as it:
        await it.write(positions(10))
        proxy._upstream = ("127.0.0.1", standby.port)
        proxy.cut()
        async with writing(it, 20) as write:
            await eventually(lambda: it.observed.retries["ReadOnlySQLTransactionError"] > 1)
            proxy._upstream = ("127.0.0.1", primary.port)
            assert (await write).inserted == 10
    assert await stored(primary.url) == list(range(20))


async def test_of_several_hosts_the_one_that_takes_writes_is_found(
    primary: EmbeddedPostgres, standby: EmbeddedPostgres
) -> None:
    """`target_session_attrs=read-write` passes the standby by, and follows when the roles change."""
    async with desk(both(standby, primary), size=1) as it:
        assert (await it.write(positions(10))).inserted == 10
        assert await stored(primary.url) == list(range(10))
        async with session(primary.url) as old:
            await old.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await old.execute("SELECT pg_reload_conf()")  # only asks: each session reads it when it comes to it
        await eventually(it.postgres.why_not_ready)  # its session has read it
        async with writing(it, 10) as write:
            await eventually(it.failing)
            async with session(standby.url) as new:
                await new.fetchval("SELECT pg_promote()")
            assert (await write).inserted == 10
    assert await stored(standby.url) == list(range(10))


async def test_a_host_that_is_gone_is_passed_by(primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
    """The URL may name servers that do not run."""
    standby.stop()
    async with desk(both(standby, primary)) as it:
        assert (await it.write(positions(10))).inserted == 10


async def test_connections_that_fail_on_and_on_are_replaced(plain_postgres_url: str) -> None:
    """Whatever the error: after an upgrade of an extension only new sessions have the new library."""
    await migrate(plain_postgres_url)
    async with session(plain_postgres_url) as other, desk(plain_postgres_url) as it:
        await other.execute(_OLD_SESSIONS_FAIL)
        await it.write(positions(10))
        await other.execute("INSERT INTO mark VALUES (clock_timestamp())")
        async with writing(it, 20) as write:
            await eventually(lambda: it.observed.retries["UndefinedFileError"])
            assert await it.postgres.why_not_ready() is None  # a question that such a session can answer proves nothing
            assert (await write).inserted == 10


async def test_why_connections_are_replaced_is_said_once(
    plain_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a table is missing one after the other fails, and the log has a line for each table, not for each."""
    caplog.set_level("INFO", logger="telemetry_app.database.postgres")
    async with pool(plain_postgres_url, size=1) as postgres:

        async def fail(table: str) -> int:
            with contextlib.suppress(asyncpg.UndefinedTableError):
                async with postgres.acquire() as connection:
                    session_id = connection.get_server_pid()
                    await connection.execute(f"SELECT FROM {table}")
            return session_id

        for table, replaced in (("absent", 3), ("away", 1)):
            sessions = {await fail(table)}

            async def are_replaced(table: str = table, sessions: set[int] = sessions, number: int = replaced) -> bool:
                sessions.add(await fail(table))
                return len(sessions) > number

            await eventually(are_replaced)
    said = [record.getMessage() for record in caplog.records if "is replaced" in record.getMessage()]
    assert [line.count(table) for line, table in zip(said, ("absent", "away"), strict=True)] == [1, 1]


async def test_who_only_reads_may_read_from_a_standby(standby: EmbeddedPostgres) -> None:
    """It is ready, and keeps its connection."""
    async with pool(standby.url, size=1, writes=False) as postgres:
        assert await postgres.why_not_ready() is None
        async with postgres.acquire() as connection:
            before = connection.get_server_pid()
        assert await postgres.why_not_ready() is None
        async with postgres.acquire() as connection:
            assert connection.get_server_pid() == before


async def test_failures_between_successes_cost_no_connection(plain_postgres_url: str) -> None:
    """Rows that are refused say nothing of the connection that brought them."""
    now = 0.0
    ailing = Ailing(clock=lambda: now)
    error = asyncpg.RaiseError("no")
    async with pool(plain_postgres_url, size=1) as postgres, postgres.acquire() as connection:
        for _ in range(10):
            now += 1
            assert not ailing.is_lost(connection, error)
            ailing.works(connection)
        assert not ailing.is_lost(connection, error)
        assert not ailing.is_lost(connection, error)
        assert not ailing.is_lost(connection, error)  # often, but all at once
        now += 1
        assert ailing.is_lost(connection, error)
