"""The servers and workers of one folder, together."""

import asyncio
from pathlib import Path

import pytest

from telemetry_app.tools.embedded.stack import Stack
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.support.waiting import eventually


class SlowToStop(Stack):
    """Its workers never end by themselves."""

    stopping = False

    async def stop_worker(self, worker: WorkerProcess) -> None:
        """Wait for ever, and leave no process."""
        self.stopping = True
        try:
            await asyncio.Event().wait()
        finally:
            worker.kill()


async def test_told_to_stop_again_while_it_stops(tmp_path: Path) -> None:
    """It ends at once, with its servers, and leaves no folder."""
    stack, started = SlowToStop(tmp_path / "stack"), asyncio.Event()

    async def run() -> None:
        async with stack:
            stack.start_worker()
            started.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(run())
    await eventually(started.is_set, timeout_s=60)
    running.cancel()
    await eventually(lambda: stack.stopping)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (stack.valkey.running, stack.postgres.running) == (False, False)
    assert not stack.folder.exists()
