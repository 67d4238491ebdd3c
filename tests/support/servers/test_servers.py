"""The servers and helpers of the tests: what they promise to the tests that use them."""

import asyncio
import multiprocessing
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from tests.conftest import PostgresFactory
from tests.support.servers import debian, timescale
from tests.support.servers.databases import fresh_database
from tests.support.servers.server import Server
from tests.support.waiting import eventually


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
    monkeypatch.setattr(timescale, "DOCKER_TIMEOUT_S", 30.0)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert await asyncio.to_thread(timescale._docker_answers)
    server.close()


def test_failing_program_is_an_error_with_its_output() -> None:
    """A program that fails, or is missing, is an error that says so."""
    with pytest.raises(debian.PackagesUnavailableError, match=r"(?s)python.* ended with status 4:\nthe reason"):
        debian.run([sys.executable, "-c", "import sys; print('the reason'); sys.exit(4)"])
    with pytest.raises(debian.PackagesUnavailableError, match="no-such-program"):
        debian.run(["no-such-program"])


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
