"""Run a command's coroutine so that it can be stopped, and give it a folder for its servers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_Result = TypeVar("_Result")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine to its end, or until Ctrl-C or SIGTERM cancels it.

    SIGTERM is not passed on as SIGINT: that is ignored in a job that a script started with `&`.

    Raises:
        KeyboardInterrupt: It was cancelled by one of them.
    """

    async def stoppable() -> _Result:
        task = asyncio.current_task()
        # Only the main thread may handle signals.
        if task is not None and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def data_folder(name: str) -> Path:
    """Return the folder, not yet made, for the embedded servers of this process."""
    return Path(".data").absolute() / f"{name}-{os.getpid()}"
