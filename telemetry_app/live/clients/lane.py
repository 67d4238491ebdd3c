"""Subscribers that are served together, most of them without a look at each."""

from __future__ import annotations

from array import array
from os import write
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from telemetry_app.live.clients.subscription import Subscription

#: Subscribers of a lane: between two lanes others may have their turn, some tenths of a millisecond later.
SIZE: Final = 32


class Lane:
    """Some subscribers of a topic, who are sent positions in the same form.

    Of thousands of clients none is in the processor's caches when its turn comes, and whether it may be written to, and
    what, stands in eight places of the memory: to look there takes a fifth of the time of the write. So only the
    descriptors of those are kept together who take whatever passes as it is: the *steady* ones. Whatever changes
    anything about one of them takes it out first, see `Subscription.disturb` and `Connection.disturb`; when it has had
    its next turn among the others, and all is well with it, it is steady again.

    Attributes:
        turn: Number of the last position that had passed at the steady ones' last turn.
        steady: Those that take whatever passes.
        others: Those that are looked at one by one.
    """

    __slots__ = ("_complete", "_descriptors", "others", "steady", "turn")

    def __init__(self) -> None:
        self.turn = 0
        # Devices of the event of which the steady ones were found to lack nothing.
        self._complete: frozenset[str] | None = None
        self.steady: list[Subscription] = []
        self.others: list[Subscription] = []
        self._descriptors = array("i")

    def __len__(self) -> int:
        return len(self.steady) + len(self.others)

    def enter(self, subscription: Subscription) -> None:
        """Take a subscription in."""
        subscription.lane = self
        self.others.append(subscription)

    def leave(self, subscription: Subscription) -> None:
        """Let a subscription go."""
        self.disturb(subscription)
        self.others.remove(subscription)
        subscription.lane = None

    def disturb(self, subscription: Subscription) -> None:
        """Look at a subscription again at its next turn; nothing if it is not steady."""
        steady_ones = subscription.connection.steady
        if subscription not in steady_ones:
            return
        steady_ones.remove(subscription)
        place = self.steady.index(subscription)
        del self.steady[place], self._descriptors[place]
        self.others.append(subscription)
        subscription.turn = subscription.seq = self.turn

    def lacking(self, devices: frozenset[str]) -> list[Subscription]:
        """Return those that know anything else than where the event's devices are."""
        if self._complete is devices:
            return [subscription for subscription in self.others if subscription.lacks(devices)]
        found = [subscription for subscription in (*self.steady, *self.others) if subscription.lacks(devices)]
        self._complete = None if found else devices
        return found

    def write(self, frames: bytes, turn: int) -> int:
        """Give the steady ones what has passed since their last turn; return how many they are."""
        size, given, rests = len(frames), len(self.steady), []
        for place, descriptor in enumerate(self._descriptors):
            try:
                sent = write(descriptor, frames)
            except OSError:
                sent = 0
            if sent != size:
                rests.append((self.steady[place].connection, frames[sent:]))
        self.turn = turn
        for connection, rest in rests:
            connection.keep(rest)
        return given

    def settle(self, turn: int) -> None:
        """Count on all with whom all is well, and who are alike, from now on, when everybody has just had a turn."""
        self.turn = turn
        for subscription in tuple(self.others):
            if not subscription.is_settled:
                continue
            if self.steady and subscription.mark != self.steady[0].mark:
                continue
            self.others.remove(subscription)
            self.steady.append(subscription)
            self._descriptors.append(subscription.connection.descriptor)
            subscription.connection.steady.append(subscription)
            self._complete = None
