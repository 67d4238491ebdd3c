"""What a process uses, what it may use, and what it tells of itself."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from telemetry_app.tools.embedded.worker import WorkerProcess


#: Linux makes the clock of a process out of its id and this.
_CLOCK_OF_PROCESS: Final = 2


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time a process has used, in seconds."""
    if sys.platform == "linux":
        # Exact, where what psutil reads is a multiple of the scheduler's ticks.
        return time.clock_gettime(~process.pid << 3 | _CLOCK_OF_PROCESS)
    times = process.cpu_times()
    return times.user + times.system


def rss_kb(process: psutil.Process) -> float:
    """Return the memory a process holds resident."""
    return process.memory_info().rss / 1024


def peak_rss_mb(process: psutil.Process) -> float:
    """Return the most memory a process ever held resident, where the system tells; else what it holds now."""
    memory = process.memory_full_info()
    peak = getattr(memory, "peak_rss", None)
    if peak is None:
        with Path(f"/proc/{process.pid}/status").open() as status:
            peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    return float(peak) / 2**20


async def live_frames(worker: WorkerProcess, result: str) -> int:
    """Return how many frames of its live side a worker counts.

    Args:
        worker: A running one.
        result: `sent`, or `conflated` for those left out for subscribers that had been behind.
    """
    return int((await worker.metrics())[f"processor_live_frames_total{{{result}}}"])


def allow_open_files(number: int) -> None:
    """Raise this process's limit of open files where it is lower; its children inherit it.

    Raises:
        RuntimeError: The system allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise RuntimeError(f"{number} open files are needed, but this system allows {hard} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
