"""Crowds that would take every descriptor of a worker: what it stores, and its health, go on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import resource
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from telemetry_app.serving import descriptors
from telemetry_app.tools.embedded.worker import COMMAND, WorkerProcess
from tests.support.bundle import built
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record
from tests.worker.spectators import Spectators

#: Of these 224 stay with the worker, and a quarter of the others is kept for newcomers.
DESCRIPTORS = 624
SOCKETS = 300
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def with_limit(hard: int, soft: int | None = None) -> list[str]:
    """Return the command of a worker that may open so many files."""
    return ["sh", "-c", f'ulimit -S -n {soft or hard} && ulimit -H -n {hard} && exec "$@"', "sh", *COMMAND]


@pytest.fixture
async def worker(start_worker: StartWorker, spectators: Spectators) -> WorkerProcess:
    assert spectators.event_id
    started = start_worker(
        command=with_limit(DESCRIPTORS),
        ROLES="write,live",
        LIVE_AUTH="none",
        LIVE_MAX_CONNECTIONS_PER_ADDRESS="100000",
    )
    await started.wait_ready()
    return started


@contextlib.asynccontextmanager
async def crowd(port: int, number: int, *sent: bytes) -> AsyncIterator[list[Stream]]:
    """Connect so many clients at the same time, from a few addresses, of which each sends one of these."""
    opened: list[Stream] = []

    async def come(n: int) -> None:
        stream = await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{2 + n % 8}", 0))
        opened.append(stream)
        if sent:
            stream[1].write(sent[n % len(sent)])

    try:
        await asyncio.gather(*(come(n) for n in range(number)))
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


def upgrade() -> bytes:
    key = base64.b64encode(os.urandom(16))
    return (
        b"GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: " + key + b"\r\n\r\n"
    )


async def status(stream: Stream) -> int:
    """Return how an upgrade was answered; 0 when the connection was reset, which may outrun the answer."""
    try:
        async with asyncio.timeout(60):
            return int((await stream[0].readline()).split()[1])
    except ConnectionResetError:
        return 0


async def all_goes_on(worker: WorkerProcess, pipeline: Pipeline) -> None:
    """Find that records are stored and that a worker is healthy, asked over new connections."""
    stored = await pipeline.stored()
    await pipeline.publish([record(device, 1) for device in range(200)])

    async def all_stored() -> bool:
        return await pipeline.stored() == stored + 200

    await eventually(all_stored, timeout_s=60, message="what came meanwhile is stored")
    async with aiohttp.ClientSession() as http, http.get(f"{worker.metrics_url}/healthz") as answer:
        assert answer.status == 200
    await worker.wait_ready()
    metrics = await worker.metrics()
    assert metrics["process_open_fds"] < DESCRIPTORS


@pytest.mark.timeout(240)
async def test_as_many_sockets_as_there_is_room_for(worker: WorkerProcess, pipeline: Pipeline) -> None:
    """Of a crowd as many are let in as find room, all others are told 503; when they have left, others come in."""
    async with contextlib.AsyncExitStack() as stack:
        came = await stack.enter_async_context(crowd(worker.live_port, 900, upgrade()))
        answers = Counter(await asyncio.gather(*map(status, came)))
        assert answers[503] + answers[0] + answers[101] == 900
        assert answers[0] < 20
        assert answers[101] <= SOCKETS
        # Who was refused in the crush although there was room may come again.
        for _ in range(SOCKETS - answers[101]):
            (one,) = await stack.enter_async_context(crowd(worker.live_port, 1, upgrade()))
            assert await status(one) == 101
        (one,) = await stack.enter_async_context(crowd(worker.live_port, 1, upgrade()))
        assert await status(one) == 503
        await all_goes_on(worker, pipeline)
        metrics = await worker.metrics()
        refused = [metrics[f"processor_live_refused_total{{{reason}}}"] for reason in ("full", "waiting")]
        assert sum(refused) == 900 - answers[101] + 1
        assert metrics["processor_live_connections"] == SOCKETS

    async def is_let_in() -> bool:
        async with crowd(worker.live_port, 1, upgrade()) as (one,):
            return await status(one) == 101

    await eventually(is_let_in, message="who has left is noticed")
    assert "no more than 300 of LIVE_MAX_CONNECTIONS=10000 are let in" in worker.log_path.read_text()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param((), id="nothing"),
        pytest.param((GET, upgrade()[:-2]), id="half a request"),
        pytest.param((GET + b"\r\n",), id="a request, and then nothing"),
        pytest.param(
            (f"GET /{built('world.json')} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),), id="a page, which is not read"
        ),
    ],
)
async def test_connections_kept_open_without_use(
    worker: WorkerProcess, pipeline: Pipeline, spectators: Spectators, sent: Sequence[bytes]
) -> None:
    """Far more of them than descriptors keep nobody out: a spectator gets the page, is let in and stays."""
    async with spectators.connect(worker) as before, crowd(worker.live_port, 1500, *sent):
        await all_goes_on(worker, pipeline)
        async with aiohttp.ClientSession() as http, http.get(f"{worker.live_url}/{built('app.js')}") as page:
            assert page.status == 200
            assert await page.read()
        async with spectators.connect(worker) as client:
            answers = [await each.subscribe(spectators.event_id) for each in (before, client)]
            assert [answer["type"] for answer in answers] == ["subscribed"] * 2
        unanswered = not any(part.endswith(b"\r\n\r\n") for part in sent)
        assert (await worker.metrics())["processor_live_refused_total{waiting}"] >= (500 if unanswered else 0)
    log = worker.log_path.read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


async def test_health_is_asked_by_a_crowd(worker: WorkerProcess, pipeline: Pipeline) -> None:
    """Connections kept open on the port of metrics and health cut off neither."""
    async with crowd(int(worker.env["METRICS_PORT"]), 1500):
        await all_goes_on(worker, pipeline)


@pytest.mark.parametrize("sockets", [1, 300, 1000, 10_000])
def test_what_so_many_sockets_need(monkeypatch: pytest.MonkeyPatch, sockets: int) -> None:
    """A worker that may open so many files lets them all in."""
    limit = descriptors.needed_for(sockets)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert descriptors.most_sockets(descriptors.left_for_clients()) >= sockets


@pytest.mark.parametrize(("soft", "hard"), [(64, 700), (700, 700)])
async def test_the_soft_limit_is_raised(start_worker: StartWorker, soft: int, hard: int) -> None:
    """A worker may open as many files as the hard limit allows."""
    worker = start_worker(command=with_limit(hard, soft), ROLES="write")
    await worker.wait_ready()
    assert (await worker.metrics())["process_max_fds"] == hard
