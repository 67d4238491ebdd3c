"""How long positions gather, so that sending takes a set share of the event loop whatever the number of clients."""

from __future__ import annotations


def rest_s(spent_s: float, *, share: float, longest_s: float) -> float:
    """Return how long to rest after a round of sending.

    With few clients a round costs next to nothing and the next position leaves at once; with many the rests grow with
    the rounds, and each round carries what gathered meanwhile. The first position after a silence finds the rest over.

    Args:
        spent_s: What the round took.
        share: Of the time that sending may take, above 0 to 1.
        longest_s: Longest rest, so that what is shown stays fresh. A long round makes it shorter by up to a half:
            positions gather during it too.
    """
    return min(spent_s * (1 - share) / share, longest_s - min(spent_s, longest_s) / 2)
