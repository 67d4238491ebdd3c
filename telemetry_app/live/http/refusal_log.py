"""One line of the log for each kind of refusal, and not for each request that is refused."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger(__name__)

#: Least time between two lines of a kind.
_EVERY_S: Final = 60.0


@dataclass(slots=True)
class _Untold:
    """What a kind has had since its last line."""

    number: int = 0
    reason: str = ""


class RefusalLog:
    """Tells of the first refusal of a kind at once, and of those that follow by their number, once in a minute."""

    def __init__(self) -> None:
        self._untold: dict[str, _Untold] = {}

    def tell(self, kind: str, reason: str) -> None:
        """Tell of a refusal.

        Args:
            kind: One of few.
            reason: For the operator; of those that were not told at once only the last is.
        """
        untold = self._untold.get(kind)
        if untold is None:
            logger.warning("refused (%s): %s", kind, reason)
            self._wait(kind)
        else:
            untold.number += 1
            untold.reason = reason

    def _wait(self, kind: str) -> None:
        self._untold[kind] = _Untold()
        asyncio.get_running_loop().call_later(_EVERY_S, self._sum_up, kind)

    def _sum_up(self, kind: str) -> None:
        untold = self._untold.pop(kind)
        if untold.number:
            logger.warning("refused (%s): %d more in %g s, the last: %s", kind, untold.number, _EVERY_S, untold.reason)
            self._wait(kind)
