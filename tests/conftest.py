"""Real servers for the tests: one of each kind for all of them, and factories for those that break theirs."""

import os
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings
from redis.asyncio import Redis

from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from telemetry_app.tools.embedded.worker import COMMAND, WorkerProcess
from tests.support.servers.databases import fresh_database, migrated_template
from tests.support.servers.pgbouncer import PgBouncer, PoolMode
from tests.support.servers.proxy import TcpProxy
from tests.support.servers.server import TEST_SETTINGS, ExternalServer, Server, server_folder, started
from tests.support.servers.timescale import embedded_timescale, timescale_server

# No example depends on the day or on the load: a failure is the code's. `--hypothesis-profile=search` finds others.
settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.register_profile("search", max_examples=20_000, database=None, deadline=None)
settings.load_profile("suite")

PROJECT = Path(__file__).parent.parent
ValkeyFactory = Callable[..., EmbeddedValkey]
PostgresFactory = Callable[..., EmbeddedPostgres]
BouncerFactory = Callable[..., PgBouncer]
ProxyFactory = Callable[..., Awaitable[TcpProxy]]
WorkerFactory = Callable[..., WorkerProcess]


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """Let a database be called ready on a machine that is so busy that it takes its time to answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("telemetry_app.database.postgres._PING_TIMEOUT_S", 30.0)
        yield


@pytest.fixture
def unused_tcp_port() -> int:
    """A port where nobody listens, in place of the plugin's, which is among those of outgoing connections."""
    return free_port()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    """The Redis of all tests; each keeps to keys of its own (see `stream`)."""
    if url := os.environ.get("TEST_REDIS_URL"):
        yield ExternalServer(url)
        return
    with started(EmbeddedValkey(server_folder())) as server:
        yield server


@pytest.fixture
def redis_url(valkey_server: Server) -> str:
    return valkey_server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url, socket_timeout=60)  # a hundred megabytes take long on a busy machine
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def stream(redis: Redis) -> AsyncIterator[str]:
    """A stream name that no other test has; afterwards every key that contains it is deleted."""
    name = f"test:{uuid.uuid4().hex}"
    yield name
    if keys := [key async for key in redis.scan_iter(match=f"*{name}*", count=1000)]:
        await redis.unlink(*keys)


@pytest.fixture
def valkey_factory() -> Iterator[ValkeyFactory]:
    """Start Valkey servers that a test may stop, kill, pause and empty."""
    with ExitStack() as servers:

        def make(*, appendonly: bool = False, extra_args: Sequence[str] = ()) -> EmbeddedValkey:
            # A node's second port would lie among those of outgoing connections.
            bus = ("--cluster-port", str(free_port())) if "--cluster-enabled" in extra_args else ()
            server = EmbeddedValkey(server_folder(), appendonly=appendonly, extra_args=(*extra_args, *bus))
            servers.callback(server.discard)
            server.start()
            return server

        yield make


@pytest.fixture(scope="session")
def plain_postgres() -> Iterator[Server]:
    """The plain PostgreSQL of all tests; each has a database of its own (see `plain_postgres_url`)."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield ExternalServer(url)
        return
    with started(EmbeddedPostgres(server_folder(), settings=TEST_SETTINGS)) as server:
        yield server


@pytest.fixture(scope="session")
def timescale_postgres() -> Iterator[Server]:
    """The PostgreSQL with TimescaleDB and PostGIS of all tests; each has a database of its own."""
    if url := os.environ.get("TEST_TIMESCALE_URL"):
        yield ExternalServer(url)
        return
    with timescale_server(server_folder()) as server:
        yield server


@pytest.fixture
async def plain_postgres_url(plain_postgres: Server) -> AsyncIterator[str]:
    """An empty database on plain PostgreSQL."""
    async with fresh_database(plain_postgres.url) as url:
        yield url


@pytest.fixture
async def timescale_postgres_url(timescale_postgres: Server) -> AsyncIterator[str]:
    """An empty database where TimescaleDB and PostGIS can be created."""
    async with fresh_database(timescale_postgres.url) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plain_template(plain_postgres: Server) -> AsyncIterator[str]:
    """A database with the table, from which those of tests are cloned."""
    async with migrated_template(plain_postgres.url) as name:
        yield name


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def timescale_template(timescale_postgres: Server) -> AsyncIterator[str]:
    """The same, with a hypertable."""
    async with migrated_template(timescale_postgres.url) as name:
        yield name


@pytest.fixture
async def timescale_table_url(timescale_postgres: Server, timescale_template: str) -> AsyncIterator[str]:
    """A database with the table as a hypertable."""
    async with fresh_database(timescale_postgres.url, timescale_template) as url:
        yield url


@pytest.fixture(params=["plain", "timescale"])
def postgres_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of PostgreSQL in turn."""
    kind: str = request.param
    return kind


@pytest.fixture
def postgres_server(request: pytest.FixtureRequest, postgres_kind: str) -> Server:
    """The server of this kind."""
    server: Server = request.getfixturevalue(f"{postgres_kind}_postgres")
    return server


@pytest.fixture
def postgres_template(request: pytest.FixtureRequest, postgres_kind: str) -> str:
    """The name of a database with the table on this server."""
    name: str = request.getfixturevalue(f"{postgres_kind}_template")
    return name


@pytest.fixture
async def postgres_url(postgres_server: Server) -> AsyncIterator[str]:
    """An empty database; the test runs once on each kind of PostgreSQL."""
    async with fresh_database(postgres_server.url) as url:
        yield url


@pytest.fixture
async def table_url(postgres_server: Server, postgres_template: str) -> AsyncIterator[str]:
    """A database with the table; the test runs once on each kind of PostgreSQL."""
    async with fresh_database(postgres_server.url, postgres_template) as url:
        yield url


@pytest.fixture
def postgres_factory() -> Iterator[PostgresFactory]:
    """Start PostgreSQL servers that a test may stop, kill, pause and restart."""
    with ExitStack() as servers:

        def make(*, timescale: bool = False, settings: Mapping[str, str] = TEST_SETTINGS) -> EmbeddedPostgres:
            folder = server_folder()
            kind = embedded_timescale if timescale else EmbeddedPostgres
            server = kind(folder, settings=settings)
            servers.callback(server.discard)
            server.start()
            return server

        yield make


@pytest.fixture
def pgbouncer(plain_postgres: Server) -> Iterator[BouncerFactory]:
    """Start PgBouncers in front of the plain PostgreSQL, which a test may stop, kill, pause and restart."""
    with ExitStack() as bouncers:

        def make(*, pool_mode: PoolMode, pool_size: int) -> PgBouncer:
            bouncer = PgBouncer(server_folder(), plain_postgres.url, pool_mode=pool_mode, pool_size=pool_size)
            bouncers.callback(bouncer.discard)
            bouncer.start()
            return bouncer

        yield make


@pytest.fixture
async def tcp_proxy() -> AsyncIterator[ProxyFactory]:
    """Give a coroutine function of `host, port`, and perhaps `tls`, that starts a proxy in front of them."""
    async with AsyncExitStack() as proxies:

        async def make(host: str, port: int, tls: ssl.SSLContext | None = None) -> TcpProxy:
            return await proxies.enter_async_context(TcpProxy(host, port, tls))

        yield make


@pytest.fixture
def worker_process(tmp_path: Path) -> Iterator[WorkerFactory]:
    """Give a function of `env` that starts a worker; the logs are shown when the test fails.

    Of our own environment a worker sees only the search paths and the home folder.
    """
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    workers: list[WorkerProcess] = []

    def make(env: Mapping[str, str], command: Sequence[str] = COMMAND, cwd: Path = PROJECT) -> WorkerProcess:
        log_path = tmp_path / f"worker-{len(workers)}.log"
        worker = WorkerProcess({**inherited, **env}, log_path, cwd=cwd, command=command)
        worker.start()
        workers.append(worker)
        return worker

    yield make
    for number, worker in enumerate(workers):
        worker.kill()
        print(f"worker {number}, end of its log: {worker.log_tail()}")  # noqa: T201 - pytest shows it when the test failed
