"""What a client is given first, when it subscribes: where every device is, or what it missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from telemetry_app.live.clients.subscription import Gate, Subscription
from telemetry_app.live.delivery.fanout import FanOut, frames
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.frames import text_frame
from telemetry_app.live.wire.protocol import position_body, position_head, subscribed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw, UnsetType

    from telemetry_app.live.clients.limits import LiveLimits
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.ports import DeviceEvents
    from telemetry_app.live.positions.gather import Gatherer
    from telemetry_app.live.positions.history import History, Sighting
    from telemetry_app.live.wire.cursor import Vector
    from telemetry_app.live.wire.position import LivePosition

#: A position in a snapshot takes hardly less, and twice as much as a rule: what fits is always given whole.
_POSITION_BYTES: Final = 64
#: A position as a frame of its own takes hardly more.
_FRAME_BYTES: Final = 256
#: Pages after the first fill so much of what a client may cost, that they find room beside the live positions.
_PAGE_PART: Final = 4


class _Page(NamedTuple):
    """What is known of some devices.

    Attributes:
        positions: Where the database has them; none for a client that resumes.
        following: What the database does not have yet, or what the client missed, in order.
        gate: What has to be held back from now on.
    """

    positions: Sequence[LivePosition]
    following: list[Sighting]
    gate: Gate


@dataclass(frozen=True, slots=True)
class Opener:
    """Gives clients what is known, and lets their subscriptions stand in the same step of the loop.

    So nothing can pass between the two: until then positions are held in the history, and those the database does
    not have yet are sent right behind the snapshot.

    An event that alone takes more than a client may cost is given in pages: some of its devices in the answer, and
    then, each time there is room, some more as ordinary frames. Positions of devices whose page has yet to come are
    held back, and no frame carries a cursor before the last page: there is none to go on from.
    """

    registry: Registry
    history: History
    fan_out: FanOut
    gatherer: Gatherer
    device_events: DeviceEvents
    limits: LiveLimits

    async def open(self, subscription: Subscription, since: Vector | None, reference: Raw | UnsetType) -> None:
        """Answer a subscribe; returns when everything known was given, or the client is gone.

        Args:
            subscription: To stand.
            since: How far the client has come, if everything after it can be had.
            reference: The `id` of the request, as JSON.
        """
        connection = subscription.connection
        owed = tuple(self.device_events.devices_of(subscription.event_id))
        first, most_bytes = True, self.limits.slow_client_bytes
        most = max(most_bytes // _POSITION_BYTES, 1)
        while first or owed:
            devices, rest = owed[:most], owed[most:]
            page = await self._read(devices, since)
            # No await from here on but where the page is given up: something new is known then.
            if connection.closing or not (first or self.registry.holds(subscription)):
                return
            if first:
                written = self._answer(subscription.topic, page, since, reference, whole=not rest)
            else:
                written = _frames(subscription.topic, page)
            if len(written) > most_bytes and len(devices) > 1:
                most = len(devices) // 2
                continue
            if not connection.may_write(len(written), caught_up=not first):
                await connection.wait_for_room(len(written), caught_up=not first)
                continue
            if first:
                subscription.seq = self.history.seq
                if not self.registry.subscribe(subscription):
                    return
                first, most_bytes = False, most_bytes // _PAGE_PART
                most = max(most_bytes // _FRAME_BYTES, 1)
            connection.write(written)
            subscription.owed = frozenset(rest)
            subscription.add_gate(page.gate)
            self.fan_out.admit(subscription)
            owed = rest

    async def _read(self, devices: tuple[str, ...], since: Vector | None) -> _Page:
        """Return what is known of devices at the moment of returning."""
        snapshot = await self.gatherer.snapshot(devices)
        newest_ms = {position.device_id: position.ts_ms for position in snapshot.positions}
        # What the database has newest of a device may have yet to pass here.
        ahead = {d: ts_ms for d, ts_ms in newest_ms.items() if ts_ms > (self.history.known_ms(d) or -1)}
        if since is None:
            following = self.gatherer.unstored(devices, snapshot)
            return _Page(snapshot.positions, following, Gate(ahead, None, snapshot.made_at))
        # Only the newest of each device: a map shows where things are, and after a long absence the work stays
        # bounded. Late uploads are in the stream too, and older than what the client may have been shown before.
        missed = [s for s in self.history.missed(devices, since) if s.ts_ms >= newest_ms.get(s.device_id, 0)]
        # A client that resumes has not seen what has yet to pass.
        unseen = {device_id: ts_ms - 1 for device_id, ts_ms in ahead.items()}
        return _Page((), missed, Gate(unseen, since, snapshot.made_at))

    def _answer(
        self, topic: str, page: _Page, since: Vector | None, reference: Raw | UnsetType, *, whole: bool
    ) -> bytes:
        """Return the answer and what follows it; with cursors only if that is the whole event."""
        if not whole:
            reached = ""
        elif since is None:
            reached = self._just_before(page.following)
        else:
            reached = cursor.of(since)
        answer = subscribed(topic, page.positions, reached, reference=reference, resumed=since is not None)
        return text_frame(answer) + frames(topic, page.following, cursors=whole)

    def _just_before(self, following: list[Sighting]) -> str:
        """Return the cursor behind which the first of these is found, or everything that is to come."""
        reached = self.fan_out.vector
        if not following:
            return cursor.of(reached)
        first = following[0]
        vector = cursor.parse(first.cursor, len(reached)) or reached
        return cursor.of(cursor.replaced(vector, first.partition, cursor.before(first.entry_id)))


def _frames(topic: str, page: _Page) -> bytes:
    """Return a page as ordinary frames without cursors."""
    head = position_head(topic)
    known = b"".join([text_frame(head + position_body(position, "")) for position in page.positions])
    return known + frames(topic, page.following, cursors=False)
