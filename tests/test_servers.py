"""The servers and helpers of the tests: what they promise to the tests that use them."""

import asyncio
import contextlib
import multiprocessing
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.conftest import PostgresFactory, ProxyFactory, ValkeyFactory, WorkerFactory
from tests.servers import debian, timescale
from tests.servers.databases import fresh_database
from tests.servers.proxy import TcpProxy, url_through
from tests.servers.server import Server
from tests.support import eventually

# A stand-in for the worker: answers its probe with READY, and ends with 3 on SIGTERM.
WORKER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(os.environ["READY"]) if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"database missing")
print("serving", flush=True)
http.server.HTTPServer((os.environ["METRICS_HOST"], int(os.environ["METRICS_PORT"])), Handler).serve_forever()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(999)"


class Client:
    """A connection to the echo server through a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, text: bytes) -> None:
        self.writer.write(text)

    async def echo(self, text: bytes) -> bytes:
        self.send(text)
        return await self.reader.readexactly(len(text))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(proxy: TcpProxy) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def proxy(tcp_proxy: ProxyFactory) -> AsyncIterator[TcpProxy]:
    """A proxy in front of a server that echoes."""
    echoes: list[asyncio.Task[None]] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        echoes.append(asyncio.get_running_loop().create_task(echo(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy = await tcp_proxy(*server.sockets[0].getsockname())
    yield proxy
    await proxy.refuse()
    proxy.flow()
    proxy.cut()
    await asyncio.gather(*echoes)
    server.close()


async def silent(client: Client) -> bool:
    """Say whether nothing comes for a while."""
    try:
        await asyncio.wait_for(client.reader.readexactly(1), 0.2)
    except TimeoutError:
        return True
    return False


async def test_proxy_passes_bytes_both_ways(proxy: TcpProxy) -> None:
    """What a client sends reaches the server, and the answer the client, whatever its length."""
    text = bytes(range(256)) * 4000
    async with connected(proxy) as client:
        assert await client.echo(text) == text


async def test_proxy_passes_the_end_of_a_side(proxy: TcpProxy) -> None:
    """A client's half close reaches the server, whose answer and end still come back."""
    async with connected(proxy) as client:
        client.send(b"last")
        client.writer.write_eof()
        assert await client.reader.read() == b"last"
    await eventually(lambda: proxy.connections == 0)


async def test_cut_resets_every_connection_and_accepts_new_ones(proxy: TcpProxy) -> None:
    """After `cut()` all clients see a reset, and may connect again at once."""
    async with connected(proxy) as first, connected(proxy) as second:
        assert await first.echo(b"1") + await second.echo(b"2") == b"12"
        proxy.cut()
        for client in (first, second):
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
    async with connected(proxy) as third:
        assert await third.echo(b"3") == b"3"


async def test_stall_holds_bytes_back_until_flow(proxy: TcpProxy) -> None:
    """While stalled, connections stay open and nothing passes; afterwards all of it does, in order."""
    async with connected(proxy) as old:
        assert await old.echo(b"a") == b"a"
        proxy.stall()
        async with connected(proxy) as new:
            old.send(b"bc")
            new.send(b"x")
            assert await silent(old)
            assert await silent(new)
            proxy.flow()
            assert await old.reader.readexactly(2) == b"bc"
            assert await new.reader.readexactly(1) == b"x"


async def test_cut_works_while_stalled(proxy: TcpProxy) -> None:
    """A stalled connection can be cut, and what was held back is lost."""
    async with connected(proxy) as client:
        assert await client.echo(b"a") == b"a"
        proxy.stall()
        client.send(b"b")
        assert await silent(client)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(1)
    proxy.flow()
    await eventually(lambda: proxy.connections == 0)


async def test_refuse_turns_new_connections_away_until_accept(proxy: TcpProxy) -> None:
    """After `refuse()` connections are refused and existing ones go on; `accept()` listens on the same port."""
    port = proxy.port
    async with connected(proxy) as client:
        assert await client.echo(b"a") == b"a"
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await client.echo(b"b") == b"b"
        await proxy.accept()
        assert proxy.port == port
        async with connected(proxy) as other:
            assert await other.echo(b"c") == b"c"


async def test_latency_delays_each_way(proxy: TcpProxy) -> None:
    """With latency an answer takes at least the way there and the way back."""
    loop = asyncio.get_running_loop()
    async with connected(proxy) as client:
        proxy.latency_s = 0.1
        start = loop.time()
        assert await client.echo(b"a") == b"a"
        assert loop.time() - start >= 0.2


async def test_proxy_passes_on_that_the_server_is_down(tcp_proxy: ProxyFactory, valkey_factory: ValkeyFactory) -> None:
    """A client of a proxy whose server is gone sees its connection end, and works when the server is back."""
    server = valkey_factory()
    proxy = await tcp_proxy("127.0.0.1", server.port)
    async with Redis.from_url(url_through(proxy, server.url)) as client:
        assert await client.ping()
        server.kill()
        with pytest.raises(RedisConnectionError):
            await client.ping()
        server.start()
        assert await client.ping()


async def test_database_connections_go_through_a_proxy(plain_postgres_url: str, tcp_proxy: ProxyFactory) -> None:
    """`url_through` leads asyncpg through the proxy, and a cut ends its connection."""
    host, port = "127.0.0.1", int(plain_postgres_url.rpartition(":")[2].partition("/")[0])
    proxy = await tcp_proxy(host, port)
    connection = await asyncpg.connect(url_through(proxy, plain_postgres_url))
    assert await connection.fetchval("SELECT 1") == 1
    assert proxy.connections == 1
    proxy.cut()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h:1/0?x=y", "redis://127.0.0.1:{port}/0?x=y"),
        ("redis://u:p%40w@h:1/0", "redis://u:p%40w@127.0.0.1:{port}/0"),
        ("postgresql://postgres@h/db", "postgresql://postgres@127.0.0.1:{port}/db"),
    ],
)
def test_url_through_changes_host_and_port_only(url: str, expected: str) -> None:
    """User, password, path and query of a URL stay."""
    proxy = TcpProxy("h", 1)
    assert url_through(proxy, url) == expected.format(port=proxy.port)


async def test_eventually_returns_the_true_value() -> None:
    """Functions and coroutine functions are asked until they return something true, which is handed back."""
    values = iter([0, None, 7, 8])

    async def later() -> int | None:
        return next(values)

    assert await eventually(lambda: next(values)) == 7
    assert await eventually(later) == 8


async def test_eventually_says_what_it_saw_last() -> None:
    """When the time is over the error holds the message and the last value."""
    with pytest.raises(AssertionError, match=r"Not within 0\.02 s: rows arrive; the last value was \[\]"):
        await eventually(list, timeout_s=0.02, message="rows arrive")


async def test_eventually_passes_errors_on() -> None:
    """An error of the condition is not waited away."""
    with pytest.raises(ZeroDivisionError):
        await eventually(lambda: 1 // 0)


async def test_redis_fixture_speaks_to_a_stream(redis: Redis, stream: str) -> None:
    """The client talks to the server in bytes, and the test's stream starts empty."""
    assert await redis.xlen(stream) == 0
    await redis.xadd(stream, {"payload": "{}"})
    entries = await redis.xrange(stream)
    assert [fields for _, fields in entries or []] == [{b"payload": b"{}"}]


@pytest.fixture
async def keys_left(redis: Redis) -> AsyncIterator[list[str]]:
    """Look, when the test and its stream are done, for the keys that the test has named."""
    names: list[str] = []
    yield names
    assert len(names) == 3
    assert await redis.exists(*names[:2]) == 0
    assert await redis.unlink(names[2]) == 1


async def test_stream_fixture_cleans_up_all_it_named(keys_left: list[str], redis: Redis, stream: str) -> None:
    """Keys that contain the stream's name are deleted after the test, and no others."""
    keys_left += [stream, f"{{{stream}}}:dead", f"other-{id(stream)}"]
    for name in keys_left:
        await redis.set(name, 1)


async def test_streams_differ(stream: str, redis: Redis, request: pytest.FixtureRequest) -> None:
    """No two tests have the same stream."""
    seen = f"seen-{request.node.name}"
    assert await redis.sadd(seen, stream) == 1
    assert stream.startswith("test:")
    assert len(stream.removeprefix("test:")) == 32
    await redis.unlink(seen)


async def test_databases_are_empty_separate_and_dropped(postgres_server: Server) -> None:
    """Each database starts empty, sees nothing of another, and is dropped even while somebody is connected."""
    async with fresh_database(postgres_server.url) as first, fresh_database(postgres_server.url) as second:
        one, two = await asyncpg.connect(first), await asyncpg.connect(second)
        await one.execute("CREATE TABLE t ()")
        assert await one.fetchval("SELECT to_regclass('t')") == "t"
        assert await two.fetchval("SELECT to_regclass('t')") is None
    connection = await asyncpg.connect(postgres_server.url)
    names = [url.rpartition("/")[2] for url in (first, second)]
    assert await connection.fetch("SELECT datname FROM pg_database WHERE datname = any($1)", names) == []
    await connection.close()
    one.terminate()
    two.terminate()


async def test_postgres_url_gives_an_empty_database(postgres_url: str) -> None:
    """The database holds no table of anybody's."""
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetch("SELECT * FROM pg_tables WHERE schemaname = 'public'") == []
    assert (await connection.fetchval("SELECT current_database()")).startswith("test_")
    await connection.close()


async def test_database_is_dropped_after_a_restart_of_its_server(postgres_factory: PostgresFactory) -> None:
    """A test may kill the server under its database: the clean-up connects anew."""
    server = postgres_factory()
    async with fresh_database(server.url):
        server.kill()
        server.start()
    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'test_%'") == 0
    await connection.close()


async def test_timescale_is_real(timescale_postgres_url: str) -> None:
    """TimescaleDB 2.19 on PostgreSQL 17 makes a hypertable that splits its rows into chunks."""
    connection = await asyncpg.connect(timescale_postgres_url)
    await connection.execute("CREATE EXTENSION timescaledb")
    version = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    assert tuple(map(int, version.split(".")[:2])) >= (2, 19)
    assert (await connection.fetchval("SHOW server_version")).startswith("17")
    await connection.execute("CREATE TABLE p (ts timestamptz NOT NULL, device text)")
    await connection.execute("SELECT create_hypertable('p', 'ts', create_default_indexes => false)")
    await connection.execute(
        "INSERT INTO p SELECT t FROM generate_series('2026-01-01'::timestamptz, '2026-01-31', '1 day') t"
    )
    assert await connection.fetchval("SELECT count(*) FROM p") == 31
    assert await connection.fetchval("SELECT count(*) FROM show_chunks('p')") > 3
    await connection.close()


async def test_postgis_is_real(timescale_postgres_url: str) -> None:
    """PostGIS measures on the spheroid, and transforms with PROJ's database."""
    connection = await asyncpg.connect(timescale_postgres_url)
    await connection.execute("CREATE EXTENSION postgis")
    degree = "SELECT ST_Distance('POINT(0 0)'::geography, 'POINT(1 0)'::geography)"
    assert await connection.fetchval(degree) == pytest.approx(111_319.49, abs=0.01)
    metres = "SELECT ST_X(ST_Transform('SRID=4326;POINT(1 0)'::geometry, 3857))"
    assert await connection.fetchval(metres) == pytest.approx(111_319.49, abs=0.01)
    await connection.close()


async def test_plain_postgres_has_no_timescale(plain_postgres_url: str) -> None:
    """The plain server is the one without extensions."""
    connection = await asyncpg.connect(plain_postgres_url)
    names = await connection.fetch("SELECT name FROM pg_available_extensions WHERE name IN ('timescaledb', 'postgis')")
    assert names == []
    await connection.close()


async def test_timescale_factory_survives_kill(postgres_factory: PostgresFactory) -> None:
    """A TimescaleDB of one's own can be killed, and its hypertable is there when it is back."""
    server = postgres_factory(timescale=True)
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE EXTENSION timescaledb; CREATE TABLE p (ts timestamptz NOT NULL)")
    await connection.execute("SELECT create_hypertable('p', 'ts')")
    connection.terminate()
    server.kill()
    server.start()
    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("SELECT count(*) FROM timescaledb_information.hypertables") == 1
    await connection.close()


def test_missing_packages_fail_loudly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a mirror the error says why, and what else would do; nothing half made is left."""

    def no_mirror() -> str:
        raise debian.PackagesUnavailableError("apt knows no mirror")

    monkeypatch.setattr(timescale, "_CACHE", tmp_path)
    monkeypatch.setattr(timescale, "_folder", lambda: tmp_path)
    monkeypatch.setattr(debian, "mirror", no_mirror)
    with pytest.raises(debian.PackagesUnavailableError, match=r"(?s)apt knows no mirror.*TEST_TIMESCALE_URL"):
        timescale.installed()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_docker_is_asked_for_an_answer(monkeypatch: pytest.MonkeyPatch, valkey_server: Server) -> None:
    """Docker counts as there only when its engine answers: not a dead socket, a closed port, or another server."""
    valkey = valkey_server.url.removesuffix("/0").removeprefix("redis://")
    for address in ("unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", f"tcp://{valkey}"):
        monkeypatch.setenv("DOCKER_HOST", address)
        assert not timescale._docker_answers()


async def test_docker_counts_when_its_engine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that answers the ping is taken."""

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nOK" if asked.startswith(b"GET /_ping ") else b"HTTP/1.0 404 no\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(engine, "127.0.0.1", 0)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert await asyncio.to_thread(timescale._docker_answers)
    server.close()


def test_failing_program_is_an_error_with_its_output() -> None:
    """A program that fails, or is missing, is an error that says so."""
    with pytest.raises(debian.PackagesUnavailableError, match=r"(?s)python.* ended with status 4:\nthe reason"):
        debian.run([sys.executable, "-c", "import sys; print('the reason'); sys.exit(4)"])
    with pytest.raises(debian.PackagesUnavailableError, match="no-such-program"):
        debian.run(["no-such-program"])


async def test_worker_is_started_probed_and_stopped(worker_process: WorkerFactory) -> None:
    """A worker gets its environment, is ready when its probe says so, and its exit code is handed back."""
    worker = worker_process({"READY": "200"}, [sys.executable, "-c", WORKER])
    await worker.wait_ready()
    process = psutil.Process(worker.pid)
    assert process.environ()["READY"] == "200"
    assert "TEST_POSTGRES_URL" not in process.environ()
    assert worker.exit_code is None
    assert await worker.stop(signal.SIGTERM) == 3
    assert worker.exit_code == 3


async def test_killed_worker_reports_the_signal(worker_process: WorkerFactory) -> None:
    """`kill()` ends a worker at once with SIGKILL."""
    worker = worker_process({"READY": "200"}, [sys.executable, "-c", WORKER])
    await worker.wait_ready()
    assert worker.kill() == -signal.SIGKILL


async def test_unready_worker_is_an_error_with_answer_and_log(worker_process: WorkerFactory) -> None:
    """A worker that does not get ready is an error with the probe's answer and the worker's log."""
    worker = worker_process({"READY": "503"}, [sys.executable, "-c", WORKER])
    with pytest.raises(AssertionError) as error:
        await worker.wait_ready(timeout_s=1)
    (note,) = error.value.__notes__
    assert "503 database missing" in note
    assert "serving" in note


async def test_worker_that_ends_early_is_an_error_with_its_log(worker_process: WorkerFactory) -> None:
    """A worker that ends instead of getting ready is an error at once, with exit code and log."""
    worker = worker_process({}, [sys.executable, "-c", "import sys; print('no settings'); sys.exit(5)"])
    with pytest.raises(AssertionError, match="ended with 5") as error:
        await worker.wait_ready()
    assert "no settings" in error.value.__notes__[0]


async def test_worker_that_does_not_stop_is_killed_and_an_error(worker_process: WorkerFactory) -> None:
    """A worker that ignores SIGTERM fails the test, and is gone."""
    worker = worker_process({}, [sys.executable, "-c", DEAF])
    await eventually(lambda: "deaf" in worker.log_tail())
    with pytest.raises(AssertionError, match="SIGTERM ends the worker") as error:
        await worker.stop(timeout_s=0.1)
    assert "deaf" in error.value.__notes__[0]
    assert worker.exit_code == -signal.SIGKILL


def _ask_for_timescale(answers: "multiprocessing.Queue[str]") -> None:
    answers.put(str(timescale.installed().prefix))


def test_processes_that_ask_together_get_one_installation() -> None:
    """Several processes at once are given the same complete installation."""
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    processes = [context.Process(target=_ask_for_timescale, args=(answers,)) for _ in range(3)]
    for process in processes:
        process.start()
    prefixes = {answers.get(timeout=100) for _ in processes}
    for process in processes:
        process.join()
    assert len(prefixes) == 1
    assert (Path(prefixes.pop()) / "usr/lib/postgresql/17/bin/postgres").exists()
