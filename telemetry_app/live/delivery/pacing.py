"""How long positions gather, so that sending takes a set share of the event loop whatever the number of clients."""

from __future__ import annotations

from typing import Final

#: Positions gather during a round too: a long one and the rest after it take the time of so many longest rests. A
#: position takes at most as long, and until it is read: with 0.2 s it is on its socket within 0.3 s.
_LONGEST_RESTS: Final = 5 / 4
#: A shorter rest is put off: to wake up from it costs as much as it saves.
_LEAST_S: Final = 0.002


class Pace:
    """Says how long to rest after each round of sending.

    With few clients a round costs next to nothing and the next position leaves at once; with many the rests grow with
    the rounds, and each round carries what gathered meanwhile. The first position after a silence finds the rest over.

    Args:
        share: Of the time that sending may take, above 0 to 1.
        longest_s: Longest rest, so that what is shown stays fresh. A long round makes it shorter, by up to a half.
    """

    def __init__(self, *, share: float, longest_s: float) -> None:
        self._share = share
        self._longest_s = longest_s
        self._put_off_s = 0.0
        self._ended_at = float("-inf")

    def rest_s(self, spent_s: float, *, begun_at: float, ended_at: float) -> float:
        """Return how long to rest after a round.

        Args:
            spent_s: Processor time that it took.
            begun_at: Loop time at which it began, in seconds.
            ended_at: The same for its end.
        """
        # Without a round there was a rest already.
        still_due_s = max(self._put_off_s - (begun_at - self._ended_at), 0.0)
        due_s = still_due_s + spent_s * (1 - self._share) / self._share
        is_put_off = due_s < _LEAST_S
        self._put_off_s = due_s if is_put_off else 0.0
        self._ended_at = ended_at
        if is_put_off:
            return 0.0
        after_long_s = max(self._longest_s * _LONGEST_RESTS - (ended_at - begun_at), self._longest_s / 2)
        return min(due_s, self._longest_s, after_long_s)
