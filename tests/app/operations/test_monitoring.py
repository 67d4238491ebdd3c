"""Metrics and health over real HTTP, and the probes behind readiness."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing

import aiohttp
import pytest

from telemetry_app.operations.health import Readiness
from telemetry_app.operations.metrics import Metrics
from telemetry_app.operations.monitoring import MonitoringError, MonitoringServer

Answer = str | None
HOST = "127.0.0.1"


class Probe:
    """A probe whose answer the test sets, and that counts how often it is asked."""

    def __init__(self, answer: Answer = None) -> None:
        self.answer = answer
        self.asked = 0

    async def __call__(self) -> Answer:
        self.asked += 1
        return self.answer


@pytest.fixture
def readiness() -> Readiness:
    return Readiness(timeout_s=0.05)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def server(metrics: Metrics, readiness: Readiness) -> AsyncIterator[MonitoringServer]:
    running = MonitoringServer(HOST, 0, metrics, readiness)
    async with running:
        yield running


@pytest.fixture
async def http(server: MonitoringServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{HOST}:{server.port}") as session:
        yield session


async def test_metrics(http: aiohttp.ClientSession, metrics: Metrics) -> None:
    """`/metrics` shows the present counts in Prometheus' own content type."""
    metrics.acks.inc(12)
    async with http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == metrics.content_type
        assert "processor_acks_total 12.0\n" in await answer.text()


async def test_health(http: aiohttp.ClientSession, readiness: Readiness) -> None:
    """`/healthz` answers 200 whatever the dependencies do."""
    readiness.add("redis", Probe("down"))
    async with http.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_ready(http: aiohttp.ClientSession, readiness: Readiness) -> None:
    """`/readyz` answers 200 while every probe is ok, and 503 naming the one that isn't, back and forth."""
    redis = Probe()
    readiness.add("redis", redis)
    readiness.add("postgres", Probe())
    for word, status in ((None, 200), ("no answer", 503), (None, 200)):
        redis.answer = word
        async with http.get("/readyz") as answer:
            assert answer.status == status
            assert answer.content_type == "application/json"
            assert await answer.json() == {
                "ready": status == 200,
                "checks": {"redis": word or "ok", "postgres": "ok"},
            }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/router", 404), ("GET", "/readyz/x", 404), ("POST", "/metrics", 405)],
)
async def test_nothing_else(http: aiohttp.ClientSession, method: str, path: str, status: int) -> None:
    """No other page and no other method is served."""
    async with http.request(method, path) as answer:
        assert answer.status == status


async def test_no_probes_is_ready(readiness: Readiness) -> None:
    """A worker that depends on nothing is ready."""
    assert await readiness.check() == {}


async def test_one_name_one_probe(readiness: Readiness) -> None:
    """A second probe of a name is refused instead of hiding the first."""
    readiness.add("redis", Probe())
    with pytest.raises(ValueError, match="there is a probe named redis already"):
        readiness.add("redis", Probe())


@pytest.mark.parametrize(("cache_s", "asked"), [(3600.0, 1), (0.0, 3)])
async def test_cache(readiness: Readiness, cache_s: float, asked: int) -> None:
    """Within its cache time a probe is asked once; without, each time."""
    probe = Probe(None)
    readiness.add("postgres", probe, cache_s)
    assert [await readiness.check() for _ in range(3)] == [{"postgres": "ok"}] * 3
    assert probe.asked == asked


@pytest.mark.parametrize(("answer", "used_s"), [(None, 60.0), ("down", 0.2)])
async def test_the_cache_ends(
    readiness: Readiness, monkeypatch: pytest.MonkeyPatch, answer: Answer, used_s: float
) -> None:
    """What is ready is asked again after the cache time; what is not, after a moment: it may be soon."""
    loop = asyncio.get_running_loop()
    probe, now_s = Probe(answer), 1000.0
    readiness.add("postgres", probe, 60.0)
    asked = []
    for later_s in (0.0, used_s - 0.1, 0.2):
        now_s += later_s
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda now_s=now_s: now_s)
            await readiness.check()
        asked.append(probe.asked)
    assert asked == [1, 1, 2]


async def test_single_flight() -> None:
    """Callers at the same time share one run, and one that hangs up does not end it for the others."""
    started, finish = asyncio.Event(), asyncio.Event()
    runs = 0

    async def slow() -> Answer:
        nonlocal runs
        runs += 1
        started.set()
        await finish.wait()
        return None

    readiness = Readiness(timeout_s=60)
    readiness.add("slow", slow)
    callers = [asyncio.create_task(readiness.check()) for _ in range(5)]
    await started.wait()
    callers[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await callers[0]
    finish.set()
    assert await asyncio.gather(*callers[1:]) == [{"slow": "ok"}] * 4
    assert runs == 1


async def test_a_stuck_probe(readiness: Readiness) -> None:
    """A probe that does not come back is not ready, and holds up no other."""

    async def stuck() -> Answer:
        await asyncio.Event().wait()
        return None

    readiness.add("stuck", stuck)
    readiness.add("redis", Probe())
    assert await readiness.check() == {"stuck": "no answer within 0.05 s", "redis": "ok"}


async def test_a_failing_probe_shows_no_password(readiness: Readiness) -> None:
    """What a probe raises is the reason, on one bounded line and without the password."""

    async def failing() -> Answer:
        raise OSError("no way to redis://u:secret@h\n" + "x" * 1000)

    readiness.add("redis", failing)
    readiness.add("postgres", Probe("lost postgresql://u:secret@h/d"))
    answer = await readiness.check()
    assert answer["redis"].startswith("OSError: no way to redis://u:***@h xxx")
    assert len(answer["redis"]) == 300
    assert answer["postgres"] == "lost postgresql://u:***@h/d"


async def test_an_idle_connection_ends(metrics: Metrics, readiness: Readiness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose request does not get complete is closed in time."""
    monkeypatch.setattr("telemetry_app.operations.monitoring.IDLE_S", 0.3)
    server = MonitoringServer(HOST, 0, metrics, readiness)
    async with server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("header", ["Cookie: a=" + "secret" * 3000, "Cookie: a=secret\x00"])
async def test_what_cannot_be_read_is_not_quoted(
    server: MonitoringServer, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    """Cookies come to every port of a host: neither the answer nor the log has what is too long or no header."""
    reader, writer = await asyncio.open_connection(HOST, server.port)
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()
    writer.close()
    assert answer.split()[1] == "400"
    assert "secret" not in answer + caplog.text
    assert "Traceback" not in caplog.text


async def test_port_in_use(server: MonitoringServer, metrics: Metrics, readiness: Readiness) -> None:
    """A second server on a port says in one sentence what to do, and leaves the first alone."""
    second = MonitoringServer(HOST, server.port, metrics, readiness)
    with pytest.raises(MonitoringError, match=rf"^Port {server.port} on {HOST} is in use by another process: set "):
        await second.on_start()
    async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{server.port}/healthz") as answer:
        assert answer.status == 200


async def test_foreign_address(metrics: Metrics, readiness: Readiness) -> None:
    """An address of another machine is told as such."""
    with pytest.raises(MonitoringError, match=r"^Port 0 on 192\.0\.2\.1 cannot be bound \("):
        await MonitoringServer("192.0.2.1", 0, metrics, readiness).on_start()


async def test_constructing_does_nothing(metrics: Metrics, readiness: Readiness) -> None:
    """Only the start listens; the port asked for is shown until then."""
    with closing(socket.create_server((HOST, 0))) as taken:
        port = taken.getsockname()[1]
        assert MonitoringServer(HOST, port, metrics, readiness).port == port


def idle_connection(port: int) -> Coroutine[object, object, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    return asyncio.open_connection(HOST, port)


async def waiting_request(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("connect", [idle_connection, waiting_request])
async def test_stop_with_open_connections(
    metrics: Metrics,
    connect: Callable[[int], Coroutine[object, object, tuple[asyncio.StreamReader, asyncio.StreamWriter]]],
) -> None:
    """Stopping closes connections that are idle, or wait for an answer, and the port."""
    readiness = Readiness(timeout_s=3600)
    asked = asyncio.Event()

    async def stuck() -> Answer:
        asked.set()
        await asyncio.Event().wait()
        return None

    readiness.add("stuck", stuck)
    server = MonitoringServer(HOST, 0, metrics, readiness)
    await server.start()
    port = server.port
    reader, writer = await connect(port)
    if connect is waiting_request:
        await asked.wait()
    async with asyncio.timeout(10):
        await server.stop()
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)
