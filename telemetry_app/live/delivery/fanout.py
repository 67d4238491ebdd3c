"""From a batch of stream entries to the sockets of everyone who watches."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Final

from faust_redis.redis.replies import BEFORE_ALL, EntryId
from telemetry_app.live.delivery.grouping import group
from telemetry_app.live.delivery.pacing import Pace
from telemetry_app.live.delivery.turns import Turns
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.encoding import encoded
from telemetry_app.live.wire.protocol import topic_of
from telemetry_app.records.decoding import decode_entries
from telemetry_app.records.quality import good

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from faust_redis.stream.batch import RecordBatch
    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.clients.limits import LiveLimits
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.clients.subscription import Subscription
    from telemetry_app.live.ports import DeviceEvents, LiveObserver, Source
    from telemetry_app.live.positions.history import History, Sighting
    from telemetry_app.live.wire.cursor import Vector
    from telemetry_app.live.wire.encoding import Body
    from telemetry_app.live.wire.position import LivePosition

#: What a client missed comes in pieces of this part of what it may cost, the half of which is free by then.
_PIECE_PART: Final = 4

#: How long to wait for what is on its way through the stream.
_PATIENCE_S: Final = 5.0
_POLL_S: Final = 0.05

#: In a round to thousands, what has come meanwhile is read whenever it has taken so much more processor time.
_READ_EVERY_S: Final = 0.02
#: How long a round that is due waits for what has gathered: a read takes a tenth of it, and may find nothing.
_READ_S: Final = 0.005
#: The most that a position usually takes as a frame: what waits for clients' turns fits into what one may cost.
_FRAME_BYTES: Final = 256


class FanOut:
    """Delivers batches to subscribers without waiting for any, and knows how far each stream has been delivered.

    Subscribers are served in rounds, in which each has its turn; see `Turns`.

    Args:
        streams: Keys of the partitions, in order.
        history: Remembers every position.
        registry: Knows who subscribed to what.
        device_events: Knows devices and events.
        source: Reads the batches.
        observer: Told what became of them.
        max_ahead_s: How far ahead of its append a position may be to be shown.
        limits: What sending may take.

    Attributes:
        vector: Id of the last entry delivered of each stream.
    """

    def __init__(
        self,
        streams: Sequence[str],
        history: History,
        registry: Registry,
        device_events: DeviceEvents,
        source: Source,
        observer: LiveObserver,
        *,
        max_ahead_s: int,
        limits: LiveLimits,
    ) -> None:
        self._streams = {stream: number for number, stream in enumerate(streams)}
        self._history = history
        self._registry = registry
        self._device_events = device_events
        self._source = source
        self._observer = observer
        self._max_ahead_s = max_ahead_s
        self._limits = limits
        self._gated: set[Subscription] = set()
        self._turns = Turns(registry, history, observer)
        self._has_passed = asyncio.Event()
        self._serving = asyncio.Lock()
        self._pace = Pace(share=limits.broadcast_share, longest_s=limits.gather_s)
        # After a round that was served at once; `serve` takes it.
        self._rest_s = 0.0
        self._version = 0
        self._sorted_since = 0
        self.vector: Vector = (BEFORE_ALL,) * len(streams)

    def start_at(self, vector: Vector) -> None:
        """Note where the reader begins."""
        self.vector = vector

    async def deliver(self, batch: RecordBatch) -> None:
        """Have a batch sent to everyone who watches; many batches, only when those before have been.

        Entries that cannot be decoded and faulty positions are left out: the durable side reports them.
        """
        waiting = self._turns.waiting
        if waiting and (waiting + len(batch.entries)) * _FRAME_BYTES > self._limits.slow_client_bytes:
            await self._serve_once()
        partition = self._streams[batch.stream]
        self._note_changes()
        passed = group(
            good(decode_entries(batch), max_ahead_s=self._max_ahead_s),
            self._device_events.events_of,
            self._history,
            partition=partition,
            tail=cursor.tail(self.vector),
            now=asyncio.get_running_loop().time(),
        )
        last_id, _ = batch.entries[-1]
        self.vector = cursor.replaced(self.vector, partition, EntryId.parse(last_id))
        for event_id, sightings in passed.by_event.items():
            self._turns.add(topic_of(event_id), sightings)
        if passed.late:
            self._observer.late(passed.late)
        if passed.orphans:
            self._observer.orphans(passed.orphans)
        self.settle()
        if not self._serve_at_once():
            # `serve` says when to read on.
            self._source.rest(float("inf"))
            self._has_passed.set()

    async def serve(self) -> None:
        """Give clients their turns for ever: round after round with rests between, as long as somebody lacks anything.

        Records are read whenever a round has gone on for some time, and just before the next one.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_READ_S if self._turns.waiting else None):
                    await self._has_passed.wait()
            rest_s, self._rest_s = self._rest_s, 0.0
            if rest_s := rest_s or await self._serve_once():
                await asyncio.sleep(rest_s)
            self._has_passed.clear()
            self._source.rest(0.0)

    def bring(self, connection: Connection) -> None:
        """Give a client now what has passed, before anything is done with it that depends on what it was given."""
        self._turns.bring(connection)

    async def catches_up(self, at: float) -> bool:
        """Wait until everything that was appended before a loop time has been delivered; False if that takes long."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _PATIENCE_S
        while not (caught_up := at < self._caught_up_at()) and clock() < deadline:  # noqa: ASYNC110 - a read has no event
            await asyncio.sleep(_POLL_S)
        return caught_up

    def has_sent(self, sighting: Sighting) -> bool:
        """Tell whether a position was sent to the events that its device takes part in now."""
        self._note_changes()
        return sighting.seq > self._sorted_since

    def correct(self, positions: Iterable[LivePosition]) -> None:
        """Show devices where they are by other positions than those that passed through."""
        self.settle()
        self._note_changes()
        where, now = cursor.of(self.vector), asyncio.get_running_loop().time()
        by_event: dict[str, list[Sighting]] = {}
        for position in positions:
            sighting = self._history.correct(position, where, now)
            for event_id in self._device_events.events_of(position.device_id):
                by_event.setdefault(event_id, []).append(sighting)
        for event_id, sightings in by_event.items():
            self._turns.add(topic_of(event_id), sightings)
        self._has_passed.set()

    def missed(self, connection: Connection, seq: int) -> Iterator[tuple[int, bytes, int]]:
        """Return what a client missed after `seq`, in order and in pieces that fit beside what waits for it.

        Yields:
            The number of a piece's last position, its frames, and how many positions these are.
        """
        found = [
            (sighting.seq, subscription, sighting)
            for subscription in self._registry.of(connection)
            for sighting in self._newer(subscription, max(seq, subscription.seq))
        ]
        found.sort(key=lambda item: item[0])
        most_bytes = self._limits.slow_client_bytes // _PIECE_PART
        piece: dict[Subscription, list[Body]] = {}
        size = positions = 0
        for number, items in itertools.groupby(found, key=lambda item: item[0]):
            for _, subscription, sighting in items:
                piece.setdefault(subscription, []).append(sighting.written)
                size += len(subscription.topic) + len(sighting.body)
                positions += 1
            if size > most_bytes or number == found[-1][0]:
                written = [encoded(s.form, s.topic, bodies, s.cursor_mark) for s, bodies in piece.items()]
                yield number, b"".join(written), positions
                piece, size, positions = {}, 0, 0

    def forget(self) -> None:
        """Drop devices that no longer take part in any event."""
        self._history.forget_unless(self._device_events.events_of)

    def admit(self, subscription: Subscription) -> None:
        """Remove the gate of a subscription once it holds nothing back any more."""
        if subscription.gate is not None:
            self._gated.add(subscription)
            self.settle()

    def settle(self) -> None:
        """Remove the gates that hold nothing back any more."""
        if not self._gated:
            return
        caught_up_at = self._caught_up_at()
        for subscription in list(self._gated):
            gate = subscription.gate
            if not subscription.stands or gate is None:
                self._gated.discard(subscription)
            elif gate.made_at < caught_up_at and self._has_reached(gate.until):
                self.bring(subscription.connection)
                # Everything the database knew has passed here: what is not newer is late from now on.
                self._history.learn(gate.newest)
                subscription.gate = None
                self._gated.discard(subscription)

    def _note_changes(self) -> None:
        """Note from where on positions are sorted by the events as they are now, and which devices maps may show."""
        if self._version == self._device_events.version:
            return
        self._version = self._device_events.version
        self._sorted_since = self._history.seq
        unions: dict[tuple[frozenset[str], frozenset[str]], frozenset[str]] = {}
        for subscription in self._registry:
            seen, devices = subscription.seen, self._device_events.devices_of(subscription.event_id)
            if seen is not devices:
                subscription.disturb()
                subscription.seen = unions.setdefault((seen, devices), seen | devices)

    def _caught_up_at(self) -> float:
        """Return the loop time before which everything that was appended has been delivered here."""
        caught_up_at = self._source.caught_up_at
        delivered = dict(zip(self._streams, self.vector, strict=True))
        behind = any(delivered[stream] < reached for stream, reached in self._source.reached.items())
        return float("-inf") if behind else caught_up_at

    def _has_reached(self, until: Vector | None) -> bool:
        return until is None or all(ours >= theirs for ours, theirs in zip(self.vector, until, strict=True))

    def _newer(self, subscription: Subscription, seq: int) -> list[Sighting]:
        devices = self._device_events.devices_of(subscription.event_id)
        return subscription.passing(self._history.after(devices, seq))

    def _serve_at_once(self) -> bool:
        """Give every client a turn now; False if `serve` is at work, or is to go on: with the round, or by a rest."""
        if self._has_passed.is_set() or self._serving.locked() or not self._registry.is_watched:
            return False
        clock = asyncio.get_running_loop().time
        begun_at = clock()
        spent_s = self._turns.go_at_once()
        if spent_s is None:
            return False
        self._rest_s = self._pace.rest_s(spent_s, begun_at=begun_at, ended_at=clock())
        return not self._rest_s

    async def _serve_once(self) -> float:
        """Give every client a turn; return how long positions are to gather in proportion to what that took."""
        async with self._serving:
            clock = asyncio.get_running_loop().time
            begun_at, read_at_s = clock(), _READ_EVERY_S

            def read_on(spent_s: float) -> None:
                nonlocal read_at_s
                if spent_s > read_at_s:
                    read_at_s = spent_s + _READ_EVERY_S
                    self._source.rest(0.0)

            spent_s = await self._turns.go_round(read_on)
            # Nobody waits for what nobody watches.
            watched = self._registry.is_watched
            return self._pace.rest_s(spent_s, begun_at=begun_at, ended_at=clock()) if watched else self._limits.gather_s
