from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

#: Least time between two lines: something that fails and works in turns must not fill the log.
COMPLAIN_EVERY_S: Final = 10.0
#: Most reasons of one outage: some differ each time, by a number or an address.
_MOST_TOLD: Final = 5


class Outage:
    """Logs a row of failures as few lines: the first one, another reason that follows, and the end.

    Who mends the first cause finds the next one so: a server that is up again, but somewhere else.

    Args:
        logger: Where the lines go.
        what: What fails, as the beginning of a sentence ("Directus").
    """

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._told: set[str] = set()
        self._told_at = float("-inf")
        self.failures = 0

    def failed(self, reason: str) -> None:
        """Count a failure, and say the reason if it is new."""
        self.failures += 1
        now = time.monotonic()
        is_known = reason in self._told or len(self._told) == _MOST_TOLD
        if is_known or now - self._told_at < COMPLAIN_EVERY_S:
            return
        self._told.add(reason)
        self._told_at = now
        self._logger.warning("%s: %s", self._what, reason)

    def over(self) -> None:
        """Note a success, and say so if a failure had been told."""
        if self._told:
            self._logger.info("%s: works again, after %d failures", self._what, self.failures)
        self._told.clear()
        self.failures = 0
