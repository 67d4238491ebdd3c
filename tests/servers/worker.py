"""A worker of the project as a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from telemetry_app.tools.embedded.process import ChildProcess, Command, free_port
from tests.support.waiting import eventually

COMMAND = (sys.executable, "-m", "telemetry_app", "worker")
PROJECT = Path(__file__).parents[2]
PROBE_TIMEOUT_S = 2.0
LOG_LINES = 40


class WorkerProcess:
    """One worker; ends with the test's process at the latest.

    Args:
        env: Its environment variables. Ports that are not named are free ones, listened to on 127.0.0.1; of our own
            environment it sees only the search path and the home folder.
        log_path: File for its output.
        command: What to run.
    """

    def __init__(self, env: Mapping[str, str], log_path: Path, command: Sequence[str] = COMMAND) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        listening = {
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": str(free_port()),
            "LIVE_HOST": "127.0.0.1",
            "LIVE_PORT": str(free_port()),
        }
        self.env = {**inherited, **listening, **env}
        self._child = ChildProcess(Command(argv=command, cwd=PROJECT, log_path=log_path, env=self.env))

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code (negative: the signal that ended it), None while it runs."""
        return self._child.exit_code()

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.env['METRICS_PORT']}"

    def start(self) -> None:
        self._child.start()

    async def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until `/readyz` answers 200.

        Raises:
            AssertionError: It ended, or was not ready in time; with the last lines of its log.
        """
        last = ["no answer"]

        async def ready() -> bool:
            assert self.exit_code is None, f"the worker ended with {self.exit_code}"
            last[0] = await self._probe(session)
            return last[0].startswith("200 ")

        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                await eventually(ready, timeout_s=timeout_s, message="the worker is ready")
            except AssertionError as error:
                error.add_note(f"/readyz: {last[0]}\n{self.log_tail()}")
                raise

    async def _probe(self, session: aiohttp.ClientSession) -> str:
        try:
            async with session.get(f"{self.metrics_url}/readyz") as answer:
                return f"{answer.status} {await answer.text()}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return repr(error)

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout_s: float = 15) -> int:
        """Send a signal, wait for the end, and return the exit code.

        Raises:
            AssertionError: It was still there after `timeout_s` and had to be killed; with its log.
        """
        self._child.send_signal(number)
        try:
            await eventually(
                lambda: self.exit_code is not None, timeout_s=timeout_s, message=f"{number.name} ends the worker"
            )
        except AssertionError as error:
            await asyncio.to_thread(self.kill)
            error.add_note(self.log_tail())
            raise
        assert self.exit_code is not None, "waited for above"
        return self.exit_code

    def kill(self) -> int:
        """End it at once, as a crash would, and return the exit code."""
        return self._child.kill()

    def pause(self) -> None:
        self._child.pause()

    def resume(self) -> None:
        self._child.resume()

    def log_tail(self, lines: int = LOG_LINES) -> str:
        return f"the worker's log ends:\n{self._child.log_tail(lines)}"
