"""Telling open maps which devices came and went, and what they lack since the database was away."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from telemetry_app.live.clients.subscription import Subscription
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.encoding import Encoded, Form
from telemetry_app.live.wire.frames import text_frame
from telemetry_app.live.wire.protocol import Removed, encode, subscribed, topic_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from telemetry_app.live.clients.limits import LiveLimits
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.delivery.fanout import FanOut
    from telemetry_app.live.ports import DeviceEvents, LiveObserver
    from telemetry_app.live.positions.gather import Gatherer, Snapshot
    from telemetry_app.live.positions.history import History

T = TypeVar("T")

#: Devices of one read.
_READ_TOGETHER: Final = 1000
#: The most that a device usually takes as a frame; what is sent together is this part of what a client may cost.
_FRAME_BYTES: Final = 256
_PART: Final = 4
#: Writes after which others have their turn.
_WRITES: Final = 64


class _Lack(NamedTuple):
    """What some subscriptions of an event know of it, and how it is now.

    Attributes:
        topic: The event's.
        devices: Devices of the event as it is now.
        told: Devices of which they were told.
        seen: Devices that they may show.
        hidden: Devices that they were shown by a faulty position.
        partial: Whether they wait for what could not be read.
    """

    topic: str
    devices: frozenset[str]
    told: frozenset[str]
    seen: frozenset[str]
    hidden: frozenset[str]
    partial: bool


class _Frames(NamedTuple):
    """What is sent: its frames in each form, and how many positions they are."""

    of: Callable[[Form], bytes]
    positions: int


@dataclass(frozen=True, slots=True)
class Announcer:
    """Compares what each client was told of an event with what is so now, and sends the difference.

    What a client was told stands with its subscription, so that one that does not keep up is served the next time.
    """

    registry: Registry
    history: History
    fan_out: FanOut
    gatherer: Gatherer
    device_events: DeviceEvents
    limits: LiveLimits
    observer: LiveObserver

    async def announce(self) -> bool:
        """Look once at all subscriptions; return whether everything that one of them lacks could be read."""
        complete = True
        for event_id in self.registry.events():
            for lack, group in self._lacking(event_id).items():
                complete &= await self._bring_up_to_date(event_id, lack, group)
        return complete

    def _lacking(self, event_id: str) -> dict[_Lack, list[Subscription]]:
        """Return the subscriptions of an event that lack something, together with those that lack the same."""
        topic, devices = topic_of(event_id), self.device_events.devices_of(event_id)
        found: dict[_Lack, list[Subscription]] = defaultdict(list)
        for lane in self.registry.lanes(topic):
            for s in lane.lacking(devices):
                # What is owed is still on its way, in pages; who does not keep up takes nothing now.
                if not s.owed and s.connection.conflated_since_seq is None:
                    found[_Lack(topic, devices, s.told, s.seen, s.hidden, s.partial)].append(s)
        return found

    async def _bring_up_to_date(self, event_id: str, lack: _Lack, group: list[Subscription]) -> bool:
        """Send subscriptions what they lack; return whether it could be read."""
        if not self.device_events.version:
            return False
        told = lack.told
        for some in _pieces(sorted((lack.seen - lack.devices) | lack.hidden), self._together):
            gone = frozenset(some)
            told -= gone - lack.devices
            group = await self._send(
                group, self._removals, lack, some, partial(Subscription.lose, gone=gone, told=told)
            )
        missing = lack.devices if lack.partial else lack.devices - told
        for some in _pieces(sorted(missing), _READ_TOGETHER):
            if not group:
                # Nobody is left who could take what would be read.
                break
            snapshot = await self.gatherer.snapshot(tuple(some))
            if not snapshot.complete or not await self.fan_out.catches_up(snapshot.made_at):
                return False
            if self.device_events.devices_of(event_id) is not lack.devices:
                break
            self._take_note(snapshot)
            for few in _pieces([device_id for device_id in some if device_id not in told], self._together):
                told = told.union(few)
                group = await self._send(group, self._places, lack, few, partial(Subscription.tell, devices=told))
        # Where they have changed again the next look goes on from here.
        if self.device_events.devices_of(event_id) is lack.devices:
            self._finish(lack, group)
        return True

    @property
    def _together(self) -> int:
        """How many devices are sent together."""
        return max(self.limits.slow_client_bytes // _PART // _FRAME_BYTES, 1)

    def _take_note(self, snapshot: Snapshot) -> None:
        """Note where the database has devices, and show those elsewhere that were shown in another place."""
        self.fan_out.correct(self.gatherer.corrections(snapshot))
        now = asyncio.get_running_loop().time()
        for position in snapshot.positions:
            if self.history.newest(position.device_id) is None:
                self.history.place(position, now)

    async def _send(
        self,
        group: list[Subscription],
        build: Callable[[_Lack, Sequence[str]], _Frames],
        lack: _Lack,
        devices: Sequence[str],
        note: Callable[[Subscription], None],
    ) -> list[Subscription]:
        """Send frames of devices to subscriptions, and note what these know now; return those that took them."""
        took: list[Subscription] = []
        for some in _pieces(group, _WRITES):
            # Built anew: what was newest before the others had their turn may be old now.
            frames = build(lack, devices)
            for subscription in some:
                if self._offer(subscription, frames):
                    note(subscription)
                    took.append(subscription)
            await asyncio.sleep(0)
        return took

    def _offer(self, subscription: Subscription, frames: _Frames) -> bool:
        connection = subscription.connection
        self.fan_out.bring(connection)
        if not subscription.stands or connection.conflated_since_seq is not None:
            return False
        if not connection.offer(frames.of(subscription.form), frames.positions, self.history.seq):
            return False
        self.observer.frames("sent", frames.positions)
        return True

    def _removals(self, lack: _Lack, devices: Sequence[str]) -> _Frames:
        gone = [d for d in devices if d not in lack.devices or self.history.newest(d) is None]
        frames = b"".join([text_frame(encode(Removed(lack.topic, device_id))) for device_id in gone])
        return _Frames(lambda _form: frames, 0)

    def _places(self, lack: _Lack, devices: Sequence[str]) -> _Frames:
        newest = [s for d in devices if (s := self.history.newest(d)) is not None and not self.fan_out.has_sent(s)]
        encoded = Encoded(lack.topic, [sighting.written for sighting in newest])
        # Without cursors: there is none to go on from in the middle of what somebody lacks.
        return _Frames(lambda form: encoded.frames(form, None), len(newest))

    def _finish(self, lack: _Lack, group: list[Subscription]) -> None:
        """Note that subscriptions lack nothing any more, and tell those that know that they did."""
        reached = cursor.of(self.fan_out.vector) + cursor.mark_of(lack.devices)

        def done(form: Form) -> bytes:
            return text_frame(subscribed(lack.topic, (), reached, resumed=True, batch=form is not Form.EACH))

        for subscription in group:
            if not lack.partial or self._offer(subscription, _Frames(done, 0)):
                subscription.tell(lack.devices)
                subscription.seen = lack.devices
                subscription.partial = False


def _pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
