"""What a client gets first when it subscribes: where every device is, or what it missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from telemetry_app.live.clients.subscription import Gate, Subscription
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.encoding import Form, framed, payloads
from telemetry_app.live.wire.frames import MAX_HEADER_BYTES
from telemetry_app.live.wire.position import is_newer
from telemetry_app.live.wire.protocol import Entries, Removed, encode, position_body, subscribed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msgspec import Raw, UnsetType

    from telemetry_app.live.clients.limits import LiveLimits
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.delivery.fanout import FanOut
    from telemetry_app.live.ports import DeviceEvents
    from telemetry_app.live.positions.gather import Gatherer, Snapshot
    from telemetry_app.live.positions.history import History, Sighting
    from telemetry_app.live.wire.cursor import Vector
    from telemetry_app.live.wire.position import LivePosition, Rank
    from telemetry_app.live.wire.protocol import EntryFields

#: The least that a position takes in a snapshot, usually half of it: an event that fits is always given whole.
_POSITION_BYTES: Final = 64
#: The most that a position usually takes as a frame of its own.
_FRAME_BYTES: Final = 256
#: Pages after the first take this part of what a client may cost, which leaves room for live positions.
_PAGE_PART: Final = 4


class _Page(NamedTuple):
    """What is known of some devices.

    Attributes:
        positions: Where the database has them; none for a client that resumes.
        following: What the database does not have yet, or what the client missed, in order.
        gate: What must be held back from now on.
        told: Devices of which all that is known is here: without the database, those that passed through.
        partial: Whether the database could not be asked for the others.
        hidden: Devices that a client may have been shown before all their positions were found to be faulty.
    """

    positions: Sequence[LivePosition]
    following: list[Sighting]
    gate: Gate
    told: frozenset[str]
    partial: bool
    hidden: Sequence[str] = ()


class _Opening:
    """Progress of opening one subscription.

    Attributes:
        subscription: To enter.
        since: The client's cursor; None without one.
        reference: The `id` of the request, as JSON.
        entries: What the client is told of devices.
        devices: Devices of the event.
        owed: Devices whose page has not been sent.
        told: Devices of which all that is known has been sent.
        answered: Whether the answer was sent, and with it the first page.
    """

    def __init__(
        self,
        subscription: Subscription,
        since: Vector | None,
        reference: Raw | UnsetType,
        entries: Mapping[str, EntryFields],
        devices: frozenset[str],
        most_bytes: int,
    ) -> None:
        self.subscription = subscription
        self.since = since
        self.reference = reference
        self.entries = entries
        self.devices = devices
        self.owed = tuple(devices)
        self.told: frozenset[str] = frozenset()
        self.answered = False
        self._most_bytes = most_bytes
        self._most_devices = max(most_bytes // _POSITION_BYTES, 1)

    @property
    def next_devices(self) -> tuple[str, ...]:
        """Devices of the next page."""
        return self.owed[: self._most_devices]

    @property
    def next_entries(self) -> dict[str, EntryFields]:
        """What the client is told of the devices of the next page."""
        return {device_id: self.entries[device_id] for device_id in self.next_devices if device_id in self.entries}

    @property
    def is_last(self) -> bool:
        """Whether nothing is owed after the next page."""
        return len(self.owed) <= self._most_devices

    def shrinks_for(self, size: int) -> bool:
        """Tell whether so many bytes are too large for the next page; if so, halve its devices."""
        devices = len(self.next_devices)
        if size <= self._most_bytes or devices <= 1:
            return False
        self._most_devices = devices // 2
        return True

    def went_on(self, page: _Page) -> None:
        """Note that the next page was sent."""
        self.owed = self.owed[self._most_devices :]
        self.told |= page.told
        if not self.answered:
            self.answered = True
            self._most_bytes //= _PAGE_PART
            self._most_devices = max(self._most_bytes // _FRAME_BYTES, 1)


@dataclass(frozen=True, slots=True)
class Opener:
    """Sends clients what is known and enters their subscriptions, both in the same step of the loop.

    So no position can slip between the two: until then the history keeps what passes, and what the database does not
    have yet is sent right after the snapshot.

    An event that takes more than a client may cost is sent in pages: some of its devices in the answer, then some
    more as ordinary frames whenever there is room. Until the page of a device has been sent its positions are held
    back, and until the last page no frame carries a cursor: there is none to resume from.
    """

    registry: Registry
    history: History
    fan_out: FanOut
    gatherer: Gatherer
    device_events: DeviceEvents
    limits: LiveLimits

    async def open(
        self,
        subscription: Subscription,
        since: Vector | None,
        reference: Raw | UnsetType,
        entries: Mapping[str, EntryFields],
    ) -> None:
        """Answer a subscribe; return when everything known was sent or the client is gone.

        Args:
            subscription: To enter.
            since: The client's cursor, if everything after it can be read.
            reference: The `id` of the request, as JSON.
            entries: What the client may be told of devices.
        """
        connection = subscription.connection
        devices = self.device_events.devices_of(subscription.event_id)
        # Who was told of other devices might keep one that has left, and never see one that stands still.
        if not self.device_events.version or subscription.mark not in {"", cursor.mark_of(devices)}:
            since = None
        opening = _Opening(subscription, since, reference, entries, devices, self.limits.slow_client_bytes)
        while opening.owed or not opening.answered:
            page = await self._read(opening.next_devices, since)
            # What has passed until now comes before the page, by what was held back before it.
            self.fan_out.bring(connection)
            # From here on nothing may await without dropping the page: it would be out of date.
            if connection.closing or (opening.answered and not subscription.stands):
                return
            frames = self._payloads(opening, page)
            # Compressed or not: so what a client has to inflate is bounded too.
            if opening.shrinks_for(sum(len(frame) + MAX_HEADER_BYTES for frame in frames)):
                continue
            written = framed(frames, deflate=connection.deflates)
            if not connection.may_write(len(written), caught_up=opening.answered):
                await connection.wait_for_room(len(written), caught_up=opening.answered)
            elif not self._give(opening, page, written):
                return
        subscription.tell(devices if devices == opening.told else opening.told)
        subscription.seen = subscription.seen | devices if subscription.seen - devices else devices

    def _give(self, opening: _Opening, page: _Page, written: bytes) -> bool:
        """Send a page and hold back what it makes old; False when the client is gone."""
        subscription = opening.subscription
        if not opening.answered:
            subscription.seq = subscription.turn = self.history.seq
            if not self.registry.subscribe(subscription):
                return False
        subscription.connection.write(written)
        opening.went_on(page)
        subscription.owed = frozenset(opening.owed)
        subscription.partial |= page.partial
        subscription.add_gate(page.gate)
        self.fan_out.admit(subscription)
        return True

    async def _read(self, devices: tuple[str, ...], since: Vector | None) -> _Page:
        """Return what is known of devices at the time of returning."""
        snapshot = await self.gatherer.snapshot(devices)
        hidden = await self.gatherer.only_faulty(snapshot) if since is not None else ()
        newest = {position.device_id: position.rank for position in snapshot.positions}
        # The database's newest position of a device may not have passed here yet.
        ahead = {d: rank for d, rank in newest.items() if is_newer(rank, self.history.known(d))}
        if since is None:
            return self._known(snapshot, Gate(ahead, None, snapshot.made_at))
        # Only the newest of each device: a map shows where things are, and the work stays bounded after a long
        # absence. The stream also has late uploads, older than what the client may have been shown before.
        missed = [s for s in self.history.missed(devices, since) if _is_good(s, snapshot, newest.get(s.device_id))]
        # A client that resumes has not seen what has not passed here yet.
        unseen = {device_id: (seen_ms, ts_ms - 1) for device_id, (seen_ms, ts_ms) in ahead.items()}
        return _Page(
            (), missed, Gate(unseen, since, snapshot.made_at), frozenset(devices), partial=False, hidden=hidden
        )

    def _known(self, snapshot: Snapshot, gate: Gate) -> _Page:
        """Return the page of a client that comes without a cursor."""
        devices = snapshot.devices
        following = self.gatherer.unstored(devices, snapshot)
        if snapshot.complete:
            partial = not self.device_events.version
            return _Page(snapshot.positions, following, gate, frozenset(devices), partial)
        # Where the database had them later than what passed here they would be shown in an old place.
        told = frozenset(device_id for device_id in devices if self.history.newest(device_id) is not None)
        return _Page((), [s for s in following if s.device_id in told], gate, told, partial=True)

    def _payloads(self, opening: _Opening, page: _Page) -> list[bytes]:
        """Return the frames of a page: the answer and what follows it, or ordinary ones without cursors."""
        topic, form = opening.subscription.topic, opening.subscription.form
        since, whole = opening.since, opening.is_last
        following = [sighting.written for sighting in page.following]
        removed = [encode(Removed(topic, device_id)) for device_id in page.hidden]
        if opening.answered:
            entries = opening.next_entries
            named = [encode(Entries(topic, entries))] if entries else []
            known = [(position_body(position, ""), "") for position in page.positions]
            return [*named, *removed, *payloads(form, topic, [*known, *following], None)]
        mark = cursor.mark_of(opening.devices) if whole and not page.partial else None
        if mark is None:
            reached = ""
        elif since is None:
            reached = self._just_before(page.following) + mark
        else:
            reached = cursor.of(since) + mark
        answer = subscribed(
            topic,
            page.positions,
            reached,
            reference=opening.reference,
            resumed=since is not None,
            batch=form is not Form.EACH,
            partial=page.partial,
            entries=opening.next_entries,
        )
        return [answer, *removed, *payloads(form, topic, following, mark)]

    def _just_before(self, following: list[Sighting]) -> str:
        """Return the cursor just before the first of these, or, without any, before everything to come."""
        reached = self.fan_out.vector
        if not following:
            return cursor.of(reached)
        first = following[0]
        vector = cursor.parse(first.cursor, len(reached)) or reached
        return cursor.of(cursor.replaced(vector, first.partition, cursor.before(first.entry_id)))


def _is_good(sighting: Sighting, snapshot: Snapshot, newest: Rank | None) -> bool:
    """Tell whether a position is where its device is now: the newest good one that is stored, or not stored yet."""
    is_newest = newest is not None and newest[1] == sighting.rank[1]
    return is_newest or is_newer(sighting.rank, snapshot.covered.get(sighting.device_id))
