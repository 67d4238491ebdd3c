"""A command of `telemetry` as a process of its own."""

import asyncio
import os
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
