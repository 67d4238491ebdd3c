"""Faust's worker without its spinner."""

from __future__ import annotations

import logging
from typing import Any

import faust


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
