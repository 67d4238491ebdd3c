"""Faust's worker without its spinner and its banner."""

from __future__ import annotations

import logging
from typing import Any

import faust
from faust.cli.worker import worker as faust_command


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


def _say_nothing(_command: faust_command, _worker: Any) -> None:
    """Print no banner: it shows the broker's URL with its password, between lines of JSON."""


faust_command.on_worker_created = _say_nothing  # type: ignore[method-assign, assignment]  # Faust offers no setting
