"""Faust's worker without its spinner and its banner, which says when it is ready and when it has stopped."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from typing import Any, Final

import faust
from faust.cli.worker import worker as faust_command

from faust_redis.partitions.record import OtherPartitions
from faust_redis.redis.errors import Misconfigured

logger = logging.getLogger(__name__)

#: For whatever is cancelled last.
_FAREWELL_S: Final = 1.0


class Worker(faust.Worker):
    """Faust's worker, which leaves the terminal and the configured log levels alone.

    Faust draws a spinner unless told a low log level, which writes escape codes between the lines of the log and
    lowers the root logger's level.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spinner = None

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Leave the root logger as the logging configuration made it."""

    def install_signal_handlers(self) -> None:
        """Drain when the terminal or the session is closed as well, unless started with `nohup`."""
        super().install_signal_handlers()
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self.loop.add_signal_handler(signal.SIGHUP, self._schedule_shutdown, signal.SIGHUP)

    def _enter_debugger(self) -> None:
        """Open none on SIGUSR2: at its prompt everything would stand still."""
        logger.warning("SIGUSR2 is ignored")

    async def on_startup_finished(self) -> None:
        """Say that records are taken."""
        await super().on_startup_finished()
        logger.info("ready")

    def stop_and_shutdown(self) -> None:
        """Stop everything that still runs, and say that nothing does.

        Raises:
            SystemExit: Something was set up in a way that cannot work, which the log says.
        """
        refused = isinstance(self.crash_reason, Misconfigured)
        if refused:
            # Mode would announce a crash, and raise the reason once more.
            self.crash_reason = None
        super().stop_and_shutdown()
        # All of it goes with the process: looking through it for garbage takes longer than everything else here.
        gc.freeze()
        logger.info("stopped")
        if refused:
            raise SystemExit(1)

    async def _sentinel_task(self) -> None:
        """Let what was cancelled end before the loop is closed; Faust waits a second, be there anything or not."""
        if cancelled := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(cancelled, timeout=_FAREWELL_S)


def _before_start(command: Any, worker: Any) -> None:
    """Refuse another number of partitions than Redis has, before anything is started.

    And print no banner: it shows the broker's URL with its password, between lines of JSON.
    """
    try:
        worker.loop.run_until_complete(command.app.refuse_other_partitions())
    except OtherPartitions as error:
        # Faust would show where it was raised.
        raise SystemExit(f"Error: {error}") from None


faust_command.on_worker_created = _before_start  # type: ignore[method-assign, assignment]  # Faust offers no setting
