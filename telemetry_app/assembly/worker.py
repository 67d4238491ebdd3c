"""Faust's worker without its spinner and its banner, which says when it is ready and when it has stopped."""

from __future__ import annotations

import logging
from typing import Any

import faust
from faust.cli.worker import worker as faust_command

logger = logging.getLogger(__name__)


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

    async def on_startup_finished(self) -> None:
        """Say that records are taken."""
        await super().on_startup_finished()
        logger.info("ready")

    def stop_and_shutdown(self) -> None:
        """Stop everything that still runs, and say that nothing does."""
        super().stop_and_shutdown()
        logger.info("stopped")


def _say_nothing(_command: faust_command, _worker: Any) -> None:
    """Print no banner: it shows the broker's URL with its password, between lines of JSON."""


faust_command.on_worker_created = _say_nothing  # type: ignore[method-assign, assignment]  # Faust offers no setting
