"""Giving clients what has passed, one after the other, so that nothing else on the event loop waits long for it."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from telemetry_app.live.positions.history import NO_ENTRY
from telemetry_app.live.wire.encoding import Encoded, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.clients.lane import Lane
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.clients.subscription import Subscription
    from telemetry_app.live.ports import LiveObserver
    from telemetry_app.live.positions.history import History, Sighting

#: How long it may hold the loop: others wait as long, and then have their turn. To tell the worker's health takes half
#: a dozen turns, one after the other, and to store what came a dozen.
_LONGEST_S: Final = 0.0005

_seq = attrgetter("seq")


class Turns:
    """Gives each subscription, when its turn comes, what has passed since its last one.

    So what passes during a round to thousands goes to all whose turn is still to come, and nobody waits longer than
    from one turn to the next. Before anything is done with a client that depends on what it was given, it is brought up
    to date: as if it had been given everything when it passed.
    """

    def __init__(self, registry: Registry, history: History, observer: LiveObserver) -> None:
        self._registry = registry
        self._history = history
        self._observer = observer
        self._passed: dict[str, _Passed] = {}
        # Processor time of a round that was begun at once and is not over.
        self._begun_s = 0.0

    @property
    def waiting(self) -> int:
        """How many positions somebody may not have been given yet."""
        return sum(map(len, self._passed.values()))

    def add(self, topic: str, sightings: Sequence[Sighting]) -> None:
        """Have positions given to the subscribers of a topic."""
        if self._registry.subscribers(topic):
            self._passed.setdefault(topic, _Passed(topic)).add(sightings)

    def bring(self, connection: Connection) -> None:
        """Give a client now what has passed."""
        connection.disturb()
        for subscription in self._registry.of(connection):
            self._give((subscription,), self._passed.get(subscription.topic))

    def go_at_once(self) -> float | None:
        """Give every client a turn, as far as that goes without letting others have theirs.

        Returns:
            The processor time that it took, in seconds; None when `go_round` is to go on.
        """
        spent_s, is_over = _go_on(self._round())
        if is_over:
            return spent_s
        self._begun_s = spent_s
        return None

    async def go_round(self, meanwhile: Callable[[float], None]) -> float:
        """Give every client a turn that had none at once.

        Args:
            meanwhile: Called whenever others had their turn, with the processor time that the round has taken so far.

        Returns:
            The processor time that it took, without the turns of others, in seconds.
        """
        round_ = self._round()
        spent_s, self._begun_s = self._begun_s, 0.0
        while True:
            piece_s, is_over = _go_on(round_)
            spent_s += piece_s
            if is_over:
                return spent_s
            await asyncio.sleep(0)
            meanwhile(spent_s)

    def _round(self) -> Iterator[None]:
        """Give every client a turn, and stop after a few each time."""
        until = self._history.seq
        for topic, passed in list(self._passed.items()):
            for lane in self._registry.lanes(topic):
                self._serve(lane, passed)
                yield
            appended_ms = [sighting.entry_id.ms for sighting in passed.forget(until) if sighting.entry_id != NO_ENTRY]
            if self._registry.subscribers(topic) and appended_ms:
                self._observer.delivered(max(time.time() - min(appended_ms) / 1000, 0.0))
            if not len(passed):
                del self._passed[topic]

    def _serve(self, lane: Lane, passed: _Passed) -> None:
        """Give a lane its turn."""
        seq = self._history.seq
        if lane.steady:
            first = lane.steady[0]
            positions, frames = passed.after(lane.turn, first)
            if not first.connection.fits(len(frames)):
                for subscription in tuple(lane.steady):
                    subscription.disturb()
            elif positions:
                self._observer.frames("sent", positions * lane.write(frames, seq))
        if lane.others:
            self._give(tuple(lane.others), passed)
        lane.settle(seq)

    def _give(self, subscriptions: Sequence[Subscription], passed: _Passed | None) -> None:
        """Give subscriptions of a topic what has passed since their last turns."""
        seq, sent = self._history.seq, 0
        since = form = mark = None
        positions, frames = 0, b""
        for subscription in subscriptions:
            before, subscription.turn = subscription.turn, seq
            # Looking it up for each, most often in vain, would be half of the work.
            is_plain = subscription.is_plain
            if before != since or subscription.form is not form or subscription.mark is not mark or not is_plain:
                positions, frames = passed.after(before, subscription) if passed else (0, b"")
                since, form, mark = before if is_plain else None, subscription.form, subscription.mark
            if positions and subscription.connection.offer(frames, positions, before):
                subscription.seq = seq
                sent += positions
        self._observer.frames("sent", sent)


def _go_on(round_: Iterator[None]) -> tuple[float, bool]:
    """Go on with a round for as long as it may hold the loop.

    Returns:
        The processor time that it took, in seconds, and whether the round is over.
    """
    since_s, deadline = time.thread_time(), time.perf_counter() + _LONGEST_S
    for _ in round_:
        if time.perf_counter() > deadline:
            return time.thread_time() - since_s, False
    return time.thread_time() - since_s, True


class _Passed:
    """Positions of a topic that somebody may not have been given yet, in order."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._sightings: list[Sighting] = []
        self._encoded: dict[int, Encoded] = {}

    def __len__(self) -> int:
        return len(self._sightings)

    def add(self, sightings: Sequence[Sighting]) -> None:
        self._sightings += sightings
        self._encoded.clear()

    def after(self, seq: int, subscription: Subscription) -> tuple[int, bytes]:
        """Return what a subscription is sent of those after a number: how many, and their frames."""
        start = bisect_right(self._sightings, seq, key=_seq)
        sightings = self._sightings[start:]
        form, mark = subscription.form, subscription.cursor_mark
        if not subscription.is_plain:
            passing = subscription.passing(sightings)
            if len(passing) < len(sightings):
                return len(passing), encoded(form, self._topic, [sighting.written for sighting in passing], mark)
        if start not in self._encoded:
            self._encoded[start] = Encoded(self._topic, [sighting.written for sighting in sightings])
        return len(sightings), self._encoded[start].frames(form, mark)

    def forget(self, seq: int) -> list[Sighting]:
        """Drop those up to a number, and return them."""
        end = bisect_right(self._sightings, seq, key=_seq)
        forgotten = self._sightings[:end]
        del self._sightings[:end]
        self._encoded.clear()
        return forgotten
