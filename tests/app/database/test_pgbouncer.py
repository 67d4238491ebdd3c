"""Through Debian's PgBouncer, in both of its modes, with its default settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from telemetry_app.database.migrate import (
    LOCK_KEY,
    MigrationBusyError,
    MigrationError,
    migrate,
    remove_duplicates,
    status,
)
from telemetry_app.database.postgres import Postgres
from telemetry_app.live.positions.database import PositionsTable
from tests.app.core.positions.writing import Desk, desk, stored
from tests.conftest import BouncerFactory, ProxyFactory
from tests.support.database import pool, session
from tests.support.observed import LiveObserved
from tests.support.records import positions
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually

SHOWN = ("application_name", "jit", "statement_timeout", "search_path")
LEFT_BEHIND = (
    "SELECT current_setting('jit'), current_setting('statement_timeout'), current_setting('search_path'),"
    " (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
POOL_SIZE = 3


@pytest.fixture(params=["session", "transaction"])
def url(request: pytest.FixtureRequest, pgbouncer: BouncerFactory, plain_postgres_url: str) -> str:
    """An empty database through a PgBouncer with three sessions, in each mode in turn."""
    return pgbouncer(pool_mode=request.param, pool_size=POOL_SIZE).url_of(plain_postgres_url)


@pytest.fixture
def transactions_url(pgbouncer: BouncerFactory, plain_postgres_url: str) -> str:
    """An empty database through a PgBouncer in transaction mode."""
    return pgbouncer(pool_mode="transaction", pool_size=POOL_SIZE).url_of(plain_postgres_url)


@contextlib.asynccontextmanager
async def other_client(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Another client of the pooler, which leaves no statement of its own either."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def shown(postgres: Postgres) -> list[str]:
    async with postgres.acquire() as connection:
        return [await connection.fetchval("SELECT current_setting($1)", name) for name in SHOWN]


async def test_its_settings(url: str) -> None:
    """Every use of a connection has the worker's settings and those of the connection string."""
    async with pool(f"{url}?schema=mine&options=-c%20jit=on", statement_timeout_ms=1234) as postgres:
        for _ in range(3):
            assert await shown(postgres) == ["telemetry-processor", "off", "1234ms", '"mine"']


async def test_a_direct_connection_keeps_its_one_round_trip(plain_postgres_url: str) -> None:
    """Without a pooler settings last as long as the session, and no transaction is put around a statement."""
    async with pool(plain_postgres_url) as postgres:
        assert await shown(postgres) == ["telemetry-processor", "off", "30s", '"$user", public']
        async with postgres.acquire() as connection:
            assert not connection.is_in_transaction()


async def test_the_statement_timeout_holds(url: str) -> None:
    """The server ends a statement that takes too long, and the connection stays of use."""
    async with pool(url, size=1, statement_timeout_ms=1000) as postgres:
        with pytest.raises(asyncpg.QueryCanceledError):
            async with postgres.acquire() as connection:
                await connection.execute("SELECT pg_sleep(20)")
        assert await postgres.why_not_ready() is None


@pytest.mark.parametrize("pooler", ["auto", "transaction"])
async def test_nothing_is_left_on_the_servers_sessions(transactions_url: str, pooler: Any) -> None:
    """Another client of a transaction pooler finds no setting, statement or lock of ours."""
    async with other_client(transactions_url) as other:
        before = await other.fetchrow(LEFT_BEHIND)
        assert await migrate(transactions_url, pooler=pooler)
        async with pool(f"{transactions_url}?search_path=public", pooler=pooler) as postgres:
            it = Desk(postgres)
            await asyncio.gather(*(it.writer.write(positions(20)) for _ in range(4)))
            assert await PositionsTable(postgres, LiveObserved()).newest(["356307042440000"]) is not None
        assert await other.fetchrow(LEFT_BEHIND) == before


async def test_no_statement_has_a_name(transactions_url: str, tcp_proxy: ProxyFactory) -> None:
    """On the wire no statement is named, not even those by which asyncpg looks up types."""
    sent: list[bytes] = []
    address = urlsplit(transactions_url)
    proxy = await tcp_proxy(address.hostname, address.port)

    def note(piece: bytes) -> bool:
        sent.append(piece)
        return False

    proxy.loses = note
    url = url_through(proxy, transactions_url)
    await migrate(url, pooler="transaction")
    await status(url, pooler="transaction")
    async with pool(url, size=1, pooler="transaction") as postgres:
        await Desk(postgres).write(positions(10))
        assert await postgres.why_not_ready() is None
    said = b"".join(sent)
    assert b"INSERT INTO positions" in said
    assert b"__asyncpg_" not in said
    assert b"typtype" in said


async def test_other_clients_statements_of_the_same_names(transactions_url: str) -> None:
    """Names that other clients have left on every session of the server are no matter."""
    names = [f"__asyncpg_stmt_{number:x}__" for number in range(1, 200)]
    async with contextlib.AsyncExitStack() as stack:
        others = [await stack.enter_async_context(other_client(transactions_url)) for _ in range(POOL_SIZE)]
        await asyncio.gather(*(other.execute("BEGIN") for other in others))
        for other in others:
            await other.execute("; ".join(f'PREPARE "{name}" AS SELECT 1' for name in names))
        await asyncio.gather(*(other.execute("COMMIT") for other in others))
        await migrate(transactions_url)
        async with desk(transactions_url) as it:
            result = await it.write(positions(10))
            assert (result.inserted, result.duplicates) == (10, 0)
        assert [await other.fetchval('EXECUTE "__asyncpg_stmt_1__"') for other in others] == [1] * POOL_SIZE


async def test_an_error_that_a_block_keeps_to_itself_stores_nothing_in_silence(transactions_url: str) -> None:
    """A block that caught the error of a statement is told that nothing of it is stored."""
    async with pool(transactions_url) as postgres:
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await create_and_fail_in_silence(postgres)
        async with postgres.acquire() as connection:
            assert await connection.fetchval("SELECT to_regclass('kept')") is None


async def create_and_fail_in_silence(postgres: Postgres) -> None:
    async with postgres.acquire() as connection:
        await connection.execute("CREATE TABLE kept ()")
        with contextlib.suppress(asyncpg.DivisionByZeroError):
            await connection.execute("SELECT 1/0")


async def test_a_transaction_within(url: str) -> None:
    """A block may have transactions of its own: what one of them did is undone alone."""
    async with pool(url) as postgres, postgres.acquire() as connection:
        await connection.execute("CREATE TABLE kept (n int)")
        async with connection.transaction():
            await connection.execute("INSERT INTO kept VALUES (1)")
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with connection.transaction():
                await connection.execute("INSERT INTO kept SELECT 2 UNION ALL SELECT 1/0")
        trial = connection.transaction()
        await trial.start()
        await connection.execute("INSERT INTO kept VALUES (4)")
        await trial.rollback()
        assert await connection.fetchval("SELECT sum(n) FROM kept") == 1


async def test_migrations(url: str) -> None:
    """More than the pooler has sessions may migrate at once: each file is applied once."""
    results = await asyncio.gather(*(migrate(url) for _ in range(POOL_SIZE + 2)))
    assert sorted(name for result in results for name in result) == sorted({n for r in results for n in r})
    assert {row.state for row in await status(url)} == {"applied"}
    assert await migrate(url) == []


async def test_somebody_else_migrates(url: str, plain_postgres_url: str) -> None:
    """A lock that is held is waited for, in vain, and then given up with a sentence."""
    async with session(plain_postgres_url) as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        with pytest.raises(MigrationBusyError):
            await migrate(url, lock_timeout_s=0.1)


async def test_an_older_table_without_indexes(url: str, plain_postgres_url: str) -> None:
    """What a pooler cannot do for sure is refused in a sentence that says where to do it, and changes nothing."""
    async with session(plain_postgres_url) as direct:
        await direct.execute(
            "CREATE TABLE positions (device_id text NOT NULL, ts timestamptz NOT NULL, latitude float8,"
            " longitude float8, altitude float8, angle float8, speed float8, satellites int2, priority int2,"
            " codec text, attributes jsonb NOT NULL DEFAULT '{}')"
        )
        with pytest.raises(MigrationError, match="names the database itself instead of the pooler"):
            await migrate(url)
        with pytest.raises(MigrationError, match="names the database itself instead of the pooler"):
            await remove_duplicates(url)
        assert await direct.fetchval("SELECT to_regclass('schema_migrations')") is None
    await migrate(plain_postgres_url)
    assert await migrate(url) == []


async def test_two_take_turns_at_one_session(pgbouncer: BouncerFactory, plain_postgres_url: str) -> None:
    """With fewer sessions than its clients would open, a pooler in session mode serves one after the other."""
    url = pgbouncer(pool_mode="session", pool_size=1).url_of(plain_postgres_url)
    await migrate(plain_postgres_url)
    async with desk(url) as one, desk(url) as other:
        writes = [asyncio.create_task(write_on_and_on(it, first)) for it, first in ((one, 0), (other, 1000))]
        await eventually(lambda: all(it.observed.rows["inserted"] for it in (one, other)), timeout_s=40)
        # Not to the end of a write: one that waits would wait for the idle session of who has stopped.
        for write in writes:
            write.cancel()
        await asyncio.wait(writes)


async def write_on_and_on(it: Desk, first: int) -> None:
    """Write batch after batch, without a pause."""
    while True:
        with contextlib.suppress(Exception):
            await it.writer.write(positions(10, first=first))


async def test_a_restart(pgbouncer: BouncerFactory, plain_postgres_url: str) -> None:
    """Writing goes on by itself after the pooler was restarted, and stores everything once."""
    bouncer = pgbouncer(pool_mode="transaction", pool_size=1)
    await migrate(plain_postgres_url)
    async with desk(bouncer.url_of(plain_postgres_url)) as it:
        await it.write(positions(5))
        bouncer.kill()
        write = asyncio.create_task(it.write(positions(10)))
        await eventually(it.failing)
        bouncer.start()
        result = await write
    assert (result.inserted, result.duplicates) == (5, 5)
    assert await stored(plain_postgres_url) == list(range(10))
