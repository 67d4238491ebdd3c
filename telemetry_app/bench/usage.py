"""What a process uses, and what it may use."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time a process has used, in seconds."""
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
