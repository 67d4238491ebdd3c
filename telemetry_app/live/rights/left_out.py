"""What is not shown, and why, for the log."""

from __future__ import annotations

import logging
from typing import Final

from cachetools import TTLCache

logger = logging.getLogger(__name__)

#: It stays so until somebody mends it: said again after so long, and no more than so many lines in that time.
_AGAIN_AFTER_S: Final = 3600.0
_MAX_LINES: Final = 100


class LeftOut:
    """Says in the log what is left out of what an event shows."""

    def __init__(self) -> None:
        self._said: TTLCache[tuple[str, str, str], bool] = TTLCache(_MAX_LINES, _AGAIN_AFTER_S)

    def say(self, event_id: str, what: str, reason: str, where: str = "") -> None:
        """Say it, unless it was said.

        Args:
            event_id: Of the event.
            what: A part of it, as `course`.
            reason: Why, as the rest of a sentence that begins with it.
            where: Where that is the case, which is not worth a line for each.
        """
        said = event_id, what, reason
        if said not in self._said and len(self._said) < _MAX_LINES:
            self._said[said] = True
            logger.warning("event %r: %s%s is not shown: %s", event_id, what, where, reason)
