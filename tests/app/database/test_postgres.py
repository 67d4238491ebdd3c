import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from telemetry_app.database.postgres import Postgres, connect
from tests.conftest import PostgresFactory, ProxyFactory
from tests.support.database import pool
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually

FOREVER_S = 60


async def test_starts_without_a_server(tcp_proxy: ProxyFactory, plain_postgres_url: str) -> None:
    """The pool starts while nobody answers, says so, and works as soon as somebody does."""
    parts = urlsplit(plain_postgres_url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    await proxy.refuse()
    async with pool(url_through(proxy, plain_postgres_url), size=1) as postgres:
        said = await postgres.why_not_ready()
        assert said is not None
        assert said.startswith("Postgres is not usable: ConnectionRefusedError")
        await proxy.accept()
        assert await postgres.why_not_ready() is None


async def test_not_started() -> None:
    """A pool that is not started says so."""
    postgres = Postgres("postgresql://localhost/x", size=1)

    assert await postgres.why_not_ready() == "Postgres is not usable: InterfaceError: the Postgres pool is not started."


async def test_its_sessions(plain_postgres_url: str) -> None:
    """The server can tell the worker's sessions, and has the limits that the pool was given."""
    async with (
        pool(plain_postgres_url, size=1, statement_timeout_ms=1234) as postgres,
        postgres.acquire() as connection,
    ):
        names = ("application_name", "jit", "statement_timeout")
        settings = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]

    assert settings == ["telemetry-processor", "off", "1234ms"]


async def test_no_connection_is_free(plain_postgres_url: str) -> None:
    """Who asks a pool whose connections are all lent waits no longer than told."""
    async with pool(plain_postgres_url, size=1) as postgres, postgres.acquire():
        with pytest.raises(TimeoutError):
            async with postgres.acquire(timeout_s=0.01):
                pass


async def test_an_error_of_a_statement_keeps_the_connection(plain_postgres_url: str) -> None:
    """After an error that the server has reported the same session is lent again."""
    async with pool(plain_postgres_url, size=1) as postgres:
        async with postgres.acquire() as connection:
            before = connection.get_server_pid()
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with postgres.acquire() as connection:
                await connection.execute("SELECT 1/0")
        async with postgres.acquire() as connection:
            assert connection.get_server_pid() == before


async def test_a_timeout_drops_the_connection(plain_postgres_url: str) -> None:
    """After a timeout nobody gets the session in which a statement may still be running."""
    async with pool(plain_postgres_url, size=1) as postgres:
        async with postgres.acquire() as connection:
            before = connection.get_server_pid()
        with pytest.raises(TimeoutError):
            await sleep_within(postgres, 0.05)
        async with postgres.acquire() as connection:
            assert connection.get_server_pid() != before


async def sleep_within(postgres: Postgres, seconds: float) -> None:
    """Run a statement that takes longer; the time begins when there is a connection for it."""
    async with asyncio.timeout(None) as limit, postgres.acquire() as connection:
        limit.reschedule(asyncio.get_running_loop().time() + seconds)
        await connection.execute("SELECT pg_sleep(30)")


async def test_stopping_beside_a_stalled_server(tcp_proxy: ProxyFactory, plain_postgres_url: str) -> None:
    """Stopping ends although the server answers nothing, not even the farewell."""
    parts = urlsplit(plain_postgres_url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    postgres = Postgres(url_through(proxy, plain_postgres_url), size=2)
    await postgres.start()
    async with postgres.acquire() as connection:
        proxy.stall()
        asking = asyncio.create_task(connection.fetchval("SELECT 1"))
        await asyncio.wait_for(postgres.stop(), FOREVER_S)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await asking
    proxy.flow()
    await eventually(lambda: proxy.connections == 0)


async def test_connect_waits_for_a_server(tcp_proxy: ProxyFactory, plain_postgres_url: str) -> None:
    """A command that starts before its database waits for it."""
    parts = urlsplit(plain_postgres_url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    await proxy.refuse()
    connecting = asyncio.create_task(connect(url_through(proxy, plain_postgres_url)))
    await proxy.accept()
    connection = await asyncio.wait_for(connecting, FOREVER_S)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_connect_gives_up(tcp_proxy: ProxyFactory, plain_postgres_url: str) -> None:
    """A command does not wait for its database for ever."""
    parts = urlsplit(plain_postgres_url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    await proxy.refuse()

    with pytest.raises(ConnectionRefusedError):
        await connect(url_through(proxy, plain_postgres_url), attempts=2)


async def test_connect_takes_no_for_an_answer(postgres_factory: PostgresFactory) -> None:
    """A database that does not exist is told at once: waiting makes none."""
    missing = urlsplit(postgres_factory().url)._replace(path="/nowhere").geturl()

    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await connect(missing)
