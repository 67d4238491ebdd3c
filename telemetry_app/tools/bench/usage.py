"""What a process uses, what it may use, and what it tells of itself."""

from __future__ import annotations

import resource
import urllib.request
from pathlib import Path
from typing import Final

import psutil
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S: Final = 10.0


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


def live_frames(worker_url: str, result: str) -> int:
    """Return how many frames of its live side a worker counts.

    Args:
        worker_url: Of its metrics' port.
        result: `sent`, or `conflated` for those left out for subscribers that had been behind.
    """
    with urllib.request.urlopen(f"{worker_url}/metrics", timeout=_TIMEOUT_S) as answer:  # noqa: S310 - our own address
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "processor_live_frames_total" and sample.labels["result"] == result:
                return int(sample.value)
    raise RuntimeError(f"the worker does not tell how many frames were {result}")


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
