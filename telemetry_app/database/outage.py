from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

#: Least time between two lines: something that fails and works in turns must not fill the log.
COMPLAIN_EVERY_S: Final = 10.0


class Outage:
    """Logs a row of failures as two lines: the first failure, and the end.

    Args:
        logger: Where the lines go.
        what: What fails, as the beginning of a sentence ("Directus").
    """

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._said = False
        self._said_at = -COMPLAIN_EVERY_S
        self.failures = 0

    def failed(self, reason: str) -> None:
        """Count a failure, and say the reason if it is the first."""
        self.failures += 1
        now = time.monotonic()
        if self._said or now - self._said_at < COMPLAIN_EVERY_S:
            return
        self._said = True
        self._said_at = now
        self._logger.warning("%s: %s", self._what, reason)

    def over(self) -> None:
        """Note a success, and say so if a failure had been told."""
        if self._said:
            self._logger.info("%s: works again, after %d failures", self._what, self.failures)
        self._said = False
        self.failures = 0
