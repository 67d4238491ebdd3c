"""The end of a worker: what was cancelled ends before the loop does, and nothing is waited for when nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import faust
import pytest

from telemetry_app.assembly.worker import Worker

#: More than a task takes that waits for nothing.
TURNS = 10


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def worker(loop: asyncio.AbstractEventLoop) -> Worker:
    return Worker(faust.App("ending", broker="redis://127.0.0.1:1"), loop=loop)


def test_what_was_cancelled_ends(loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
    """A task that is still there when the worker stops is cancelled, and may clean up."""
    ended = []

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ended.append(True)

    task = loop.create_task(cleans_up())
    worker.stop_and_shutdown()
    assert (ended, task.cancelled(), loop.is_closed()) == ([True], True, True)


def test_nothing_is_waited_for_when_nothing_is_left(loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
    """Without a task of others the worker's last one is done at once."""
    last = loop.create_task(worker._sentinel_task())
    for _ in range(TURNS):
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert last.done()
