"""A worker as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.process import POLL_S, ChildProcess, Command, EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: As an operator starts it.
COMMAND: Final = (sys.executable, "-m", "telemetry_app", "worker")
READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
LOG_LINES: Final = 40
_ANSWER_TIMEOUT: Final = aiohttp.ClientTimeout(total=20)
_OK: Final = 200


class WorkerProcess:
    """One worker; it ends with this process at the latest.

    Args:
        env: Its environment, which is ours in nothing else. Ports that it does not name are free ones, on 127.0.0.1.
        log_path: File for its output.
        cwd: Folder it runs in.
        command: What to run.

    Attributes:
        env: Its environment, ports included.
        log_path: File with its output.
    """

    def __init__(self, env: Mapping[str, str], log_path: Path, *, cwd: Path, command: Sequence[str] = COMMAND) -> None:
        listening = {
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": str(free_port()),
            "LIVE_HOST": "127.0.0.1",
            "LIVE_PORT": str(free_port()),
        }
        self.env = {**listening, **env}
        self.log_path = log_path
        self._child = ChildProcess(Command(argv=command, cwd=cwd, log_path=log_path, env=self.env))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code (negative: the signal that ended it), None while it runs."""
        return self._child.exit_code()

    @property
    def metrics_url(self) -> str:
        """Where its metrics and its health are served."""
        return f"http://127.0.0.1:{self.env['METRICS_PORT']}"

    @property
    def live_port(self) -> int:
        """The port of its WebSocket and its map."""
        return int(self.env["LIVE_PORT"])

    @property
    def live_url(self) -> str:
        """Where its map is served."""
        return f"http://127.0.0.1:{self.live_port}"

    def start(self) -> None:
        """Start it.

        Raises:
            EmbeddedServerError: The command cannot be run.
        """
        self._child.start()

    async def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until `/readyz` answers 200.

        Raises:
            EmbeddedServerError: It ended, or was not ready in time; with the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        async with aiohttp.ClientSession(timeout=_ANSWER_TIMEOUT) as session:
            while not (answer := await self._probe(session)).startswith(f"{_OK} "):
                if self.exit_code is not None:
                    raise EmbeddedServerError(
                        f"The worker ended with status {self.exit_code} before it was ready; {self._log_says()}"
                    )
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"The worker was not ready within {timeout_s:g} s (/readyz: {answer}); {self._log_says()}"
                    )
                await asyncio.sleep(POLL_S)

    async def _probe(self, session: aiohttp.ClientSession) -> str:
        try:
            async with session.get(f"{self.metrics_url}/readyz") as answer:
                return f"{answer.status} {await answer.text()}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return repr(error)

    def require_alive(self) -> None:
        """Do nothing while it runs.

        Raises:
            EmbeddedServerError: It has ended; with the end of its log.
        """
        if self.exit_code is not None:
            raise EmbeddedServerError(f"The worker ended with status {self.exit_code}; {self._log_says()}")

    async def metrics(self) -> dict[str, float]:
        """Return its metrics: `name` or `name{label value}`.

        Raises:
            aiohttp.ClientError: It does not answer.
            TimeoutError: The same.
        """
        async with (
            aiohttp.ClientSession(timeout=_ANSWER_TIMEOUT) as session,
            session.get(f"{self.metrics_url}/metrics") as answer,
        ):
            text = await answer.text()
        return {
            sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Send a signal, wait for the end, and return the exit code.

        Raises:
            EmbeddedServerError: It was still there after `timeout_s` and had to be killed; with the end of its log.
        """
        self._child.send_signal(number)
        deadline = time.monotonic() + timeout_s
        while (code := self.exit_code) is None:
            if time.monotonic() > deadline:
                await asyncio.to_thread(self.kill)
                raise EmbeddedServerError(
                    f"The worker did not end within {timeout_s:g} s of {number.name}; {self._log_says()}"
                )
            await asyncio.sleep(POLL_S)
        return code

    def kill(self) -> int:
        """End it at once, as a crash would, and return the exit code."""
        return self._child.kill()

    def pause(self) -> None:
        """Stop it where it is: its connections stay open, nothing answers."""
        self._child.pause()

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._child.resume()

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """Return the end of its log."""
        return self._child.log_tail(lines)

    def _log_says(self) -> str:
        return f"its log ends:\n{self.log_tail()}"
