"""How long Directus wants no questions, and from whom."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from cachetools import TLRUCache

#: Statuses that may carry a Retry-After.
_TOO_MANY: Final = 429
_UNDER_PRESSURE: Final = 503
#: Most addresses remembered; beyond it the least recently used one is forgotten.
_MAX_ADDRESSES: Final = 10_000
#: A longer Retry-After is more likely a mistake.
_MAX_RETRY_AFTER_S: Final = 3600.0


class Holds:
    """Remembers each Retry-After until it is over.

    A 429 holds for its address only: Directus limits by address, and one client must not use up what is left to the
    others. A 503 holds for everybody.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._addresses: TLRUCache[str, float] = TLRUCache(
            _MAX_ADDRESSES, ttu=lambda _address, until, _now: until, timer=time.monotonic
        )

    def note(self, status: int, retry_after: str | None, address: str) -> float | None:
        """Note a refusal; return for how many seconds it holds, None when it does not say.

        Args:
            status: Of the answer.
            retry_after: Its Retry-After header.
            address: For which the question was asked.
        """
        if status not in {_TOO_MANY, _UNDER_PRESSURE}:
            return None
        retry_after_s = _seconds(retry_after)
        if retry_after_s:
            until = time.monotonic() + retry_after_s
            if status == _TOO_MANY:
                self._addresses[address] = until
            else:
                self._until = until
        return retry_after_s

    def left_s(self, address: str) -> float:
        """Return for how many seconds nothing may be asked for an address; 0 when it may be asked."""
        return max(0.0, max(self._until, self._addresses.get(address, 0.0)) - time.monotonic())


def _seconds(retry_after: str | None) -> float | None:
    """Return a Retry-After header in seconds from now; None without one that can be understood."""
    text = (retry_after or "").strip()
    if text.isdecimal() and text.isascii():
        return min(float(text), _MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
        left_s = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(left_s, 0.0), _MAX_RETRY_AFTER_S)
