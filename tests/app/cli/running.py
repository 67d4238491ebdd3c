"""A command of `telemetry` as a process of its own."""

import asyncio
import contextlib
import os
import pty
import subprocess
import sys


async def telemetry(url: str, *arguments: str) -> tuple[int | None, str, str]:
    """Run a command on a database; return its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "telemetry_app",
        *arguments,
        env={**os.environ, "POSTGRES_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode().strip(), errors.decode().strip()


async def telemetry_on_a_terminal(*arguments: str) -> tuple[int | None, str, str]:
    """Run a command whose output goes to a pipe and its errors to a terminal; return its exit code and both."""
    terminal, end = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "telemetry_app",
            *arguments,
            env={**os.environ, "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=end,
        )
    finally:
        os.close(end)
    (output, _), shown = await asyncio.gather(process.communicate(), asyncio.to_thread(_all_of, terminal))
    return process.returncode, output.decode().strip(), shown.decode()


def _all_of(terminal: int) -> bytes:
    """Return what a terminal shows until its other end is closed, of which it tells by an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown
