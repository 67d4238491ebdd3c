"""How long a worker holds its event loop: its health is asked for again and again while it does something else."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import psutil

from telemetry_app.tools.bench.usage import cpu_s

if TYPE_CHECKING:
    from telemetry_app.tools.embedded.worker import WorkerProcess

_REQUEST: Final = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
_READ_BYTES: Final = 1 << 16
#: Between an answer and the next question: one is under way at least every other time that the event loop is held.
_PAUSE_S: Final = 0.005


class Waits:
    """Asks, on one connection, for the time of the block.

    Args:
        worker: Whom.

    Attributes:
        longest_ms: Processor time that the worker took from a question to its answer, at most: what else the machine
            does is not in it.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        parts = urlsplit(worker.metrics_url)
        self._address = parts.hostname, parts.port
        self._process = psutil.Process(worker.pid)
        self.longest_ms = 0.0

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        self._asking = asyncio.create_task(self._ask())
        return self

    async def _ask(self) -> None:
        while True:
            begun_s = cpu_s(self._process)
            self._writer.write(_REQUEST)
            if not await self._reader.read(_READ_BYTES):
                raise RuntimeError("the worker did not tell its health")
            self.longest_ms = max(self.longest_ms, (cpu_s(self._process) - begun_s) * 1000)
            await asyncio.sleep(_PAUSE_S)

    async def __aexit__(self, *_: object) -> None:
        self._asking.cancel()
        self._writer.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._asking
