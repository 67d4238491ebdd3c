"""Processes that the benchmarks start: clients that take orders in JSON lines, and small servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from telemetry_app.tools.embedded.process import ChildProcess, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_Answer = TypeVar("_Answer")

_SHUTDOWN_TIMEOUT_S: Final = 5.0
_START_TIMEOUT_S: Final = 30.0
#: An answer is one line; the longest holds a traceback.
_LINE_BYTES: Final = 1 << 20


class Failure(msgspec.Struct, frozen=True, tag=True):
    """An order could not be carried out, and why."""

    reason: str


class Helper:
    """A Python module that runs as a process of its own and carries out one order after the other.

    An async context manager; the process ends with its standard input, so at the latest with this process.

    Args:
        module: Its full name; it calls `serve`.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self._module} was not started")
        return self._process

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module, stdin=pipe, stdout=pipe, limit=_LINE_BYTES, start_new_session=True
        )
        return self

    async def ask(self, order: msgspec.Struct, answer: type[_Answer]) -> _Answer:
        """Give an order and wait for its answer.

        Raises:
            RuntimeError: It was not carried out.
        """
        process = self._running
        assert process.stdin is not None  # noqa: S101 - both were asked for above
        assert process.stdout is not None  # noqa: S101 - the same
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with status {await process.wait()}")
        if line.startswith(b'{"type":"Failure"'):
            raise RuntimeError(msgspec.json.decode(line, type=Failure).reason)
        return msgspec.json.decode(line, type=answer)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        process = self._running
        if kind is not None:  # it may be in the middle of an order
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _SHUTDOWN_TIMEOUT_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def serve(orders: Any, carry_out: Callable[[Any], msgspec.Struct]) -> None:
    """Carry out the orders on standard input until it ends; answers go to standard output.

    Args:
        orders: Type of an order.
        carry_out: Returns the answer; a RuntimeError or an OSError becomes a `Failure`.
    """
    decode = msgspec.json.Decoder(orders).decode
    for line in sys.stdin.buffer:
        try:
            answer = carry_out(decode(line))
        except (RuntimeError, OSError) as error:
            answer = Failure(f"{type(error).__name__}: {error}")
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def serving(module: str, arguments: Sequence[str], port: int, folder: Path) -> Iterator[ChildProcess]:
    """Run a module that listens on a port of this machine.

    Raises:
        EmbeddedServerError: It did not begin to listen.
    """
    server = ChildProcess(
        Command(
            argv=[sys.executable, "-m", module, *arguments, str(port)],
            cwd=folder,
            log_path=folder / f"{module}.log",
            env=os.environ,
        )
    )
    server.start()
    try:
        server.wait_until(lambda: _listens(port), _START_TIMEOUT_S)
        yield server
    finally:
        server.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
