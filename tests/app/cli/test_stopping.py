"""SIGTERM ends every command in order, also as a job that a script started with `&`: such a job ignores SIGINT."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.conftest import WorkerFactory
from tests.support.waiting import eventually

TELEMETRY = (sys.executable, "-m", "telemetry_app")
#: Runs what follows with SIGINT ignored.
BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
#: Seconds that ending may take.
IN_TIME_S = 60


@pytest.fixture(autouse=True)
def attentive() -> Iterator[None]:
    """What is started here does not ignore a signal because the tests were started by `nohup` or as a job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGHUP, before[1])


@contextlib.contextmanager
def running(folder: Path, *arguments: str, **env: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command, which does not outlive the block."""
    with subprocess.Popen(
        [*BACKGROUND, *TELEMETRY, *arguments],
        cwd=folder,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def stopped(command: "subprocess.Popen[str]") -> tuple[int, str]:
    """Send SIGTERM; return the exit code and what came on standard error."""
    command.terminate()
    _, errors = command.communicate(timeout=IN_TIME_S)
    return command.returncode, errors


async def test_simulate(tmp_path: Path, redis: Redis, redis_url: str, stream: str) -> None:
    """A simulated race ends at once."""
    with running(tmp_path, "simulate", "--for", "600", REDIS_URL=redis_url, REDIS_TELEMETRY_STREAM=stream) as command:
        await eventually(lambda: redis.xlen(stream), timeout_s=60, message="records are published")
        assert stopped(command) == (1, "Error: Stopped before the end.\n")


@pytest.mark.timeout(300)
def test_bench(tmp_path: Path) -> None:
    """A benchmark ends with its servers, and leaves no data."""
    with running(tmp_path, "bench", "live", "--subscribers", "5", "--idle", "10", "--seconds", "60") as command:
        measuring = eventually(
            lambda: list(tmp_path.glob(".data/*/*references.broadcast.log")), timeout_s=200, message="it measures"
        )
        asyncio.run(measuring)
        assert stopped(command) == (1, "Error: Stopped before the end.\n")
    assert list(tmp_path.glob(".data/*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_worker_that_is_starting(worker_process: WorkerFactory, number: signal.Signals) -> None:
    """It ends with 0: process 1 of a container, where a signal without a handler does nothing, as well."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(IN_TIME_S)
        worker = worker_process({"REDIS_URL": f"redis://127.0.0.1:{silent.getsockname()[1]}", "ROLES": "write"})
        asked, _ = await asyncio.to_thread(silent.accept)
        with asked:
            assert await worker.stop(number) == 0
    assert "Traceback" not in worker.log_path.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_worker(
    worker_process: WorkerFactory, redis_url: str, stream: str, plain_postgres_url: str, number: signal.Signals
) -> None:
    """A worker drains and ends, also when its terminal or session is closed."""
    env = {"REDIS_URL": redis_url, "REDIS_TELEMETRY_STREAM": stream, "POSTGRES_URL": plain_postgres_url}
    worker = worker_process(env | {"ROLES": "write"}, [*BACKGROUND, *TELEMETRY, "worker"])
    await worker.wait_ready()
    assert await worker.stop(number, timeout_s=IN_TIME_S) == 0
    assert "drained" in worker.log_path.read_text()


async def test_worker_that_outlives_its_terminal(
    worker_process: WorkerFactory, redis_url: str, stream: str, plain_postgres_url: str
) -> None:
    """Started with `nohup` it takes no notice of SIGHUP, and of SIGUSR2 it never does: no debugger is opened."""
    env = {"REDIS_URL": redis_url, "REDIS_TELEMETRY_STREAM": stream, "POSTGRES_URL": plain_postgres_url}
    worker = worker_process(env | {"ROLES": "write"}, ["nohup", *TELEMETRY, "worker"])
    await worker.wait_ready()
    os.kill(worker.pid, signal.SIGHUP)
    os.kill(worker.pid, signal.SIGUSR2)
    await eventually(lambda: "SIGUSR2 is ignored" in worker.log_path.read_text(), timeout_s=IN_TIME_S)
    await worker.wait_ready()
    log = worker.log_path.read_text()
    assert "stopping" not in log
    assert "Traceback" not in log
    assert await worker.stop(timeout_s=IN_TIME_S) == 0
