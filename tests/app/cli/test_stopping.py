"""SIGTERM ends every command in order, also as a job that a script started with `&`: such a job ignores SIGINT."""

import asyncio
import contextlib
import os
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


async def test_worker(worker_process: WorkerFactory, redis_url: str, stream: str, plain_postgres_url: str) -> None:
    """A worker drains and ends."""
    env = {"REDIS_URL": redis_url, "REDIS_TELEMETRY_STREAM": stream, "POSTGRES_URL": plain_postgres_url}
    worker = worker_process(env | {"ROLES": "write"}, [*BACKGROUND, *TELEMETRY, "worker"])
    await worker.wait_ready()
    assert await worker.stop(timeout_s=IN_TIME_S) == 0
