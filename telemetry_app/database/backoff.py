"""How long to wait: between attempts, and so that what many do does not fall due together."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between attempts: a random time below a limit that doubles (full jitter).

    Args:
        first_s: Limit of the first wait, in seconds.
        longest_s: Limit that is never passed, in seconds.
    """

    first_s: float = 0.1
    longest_s: float = 5.0

    def wait_s(self, failures: int) -> float:
        """Return the wait after the given number of failures in a row, in seconds."""
        # The exponent is capped because an outage may last until a float overflows.
        limit = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return random.uniform(0, limit)  # noqa: S311 - spreads load, guards nothing


def jittered(interval_s: float, part: float = 0.1) -> float:
    """Return an interval that is shorter by a random part, so that what a crowd has in common is not due at once.

    Args:
        interval_s: In seconds.
        part: The most that it is shorter by, 0 to 1.
    """
    return interval_s * random.uniform(1 - part, 1)  # noqa: S311 - spreads load, guards nothing
