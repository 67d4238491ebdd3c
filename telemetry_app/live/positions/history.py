"""Recent positions by device: the memory for late positions, resuming and conflation."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from faust_redis.redis.replies import BEFORE_ALL, EntryId
from telemetry_app.live.wire.cursor import Vector
from telemetry_app.live.wire.position import is_newer
from telemetry_app.live.wire.protocol import position_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from telemetry_app.live.wire.encoding import Body
    from telemetry_app.live.wire.position import LivePosition, Rank

#: How long positions of a device are kept; its newest one is kept for ever. Longer than it takes to store a position
#: and to read a snapshot, so that what a snapshot lacks is found here.
KEPT_S: Final = 10.0
#: Most positions kept of one device: ten seconds at 25 Hz.
_MOST_KEPT: Final = 256
#: Stands for the entry of a correction, which is in no stream: whoever resumes is given it.
NO_ENTRY: Final = EntryId(2**64 - 1, 0)


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """A position that passed through.

    Attributes:
        seq: Rising number of the position in this process; 0 = from before the process began to listen.
        device_id: Its device.
        rank: What decides whether it is newer than another one of its device.
        partition: Of the stream.
        entry_id: In the stream.
        seen_at: Loop time at which it passed, in seconds.
        cursor: Where to resume after it.
        body: Its frame without the topic, see `protocol.position_body`.
    """

    seq: int
    device_id: str
    rank: Rank
    partition: int
    entry_id: EntryId
    seen_at: float
    cursor: str
    body: bytes

    @property
    def written(self) -> Body:
        """What is sent of it, in whichever form."""
        return self.body, self.cursor


def sight(live: LivePosition, where: str, entry_id: EntryId, *, partition: int, seq: int, now: float) -> Sighting:
    """Return a position as it is remembered and sent, with `where` to resume after it."""
    return Sighting(seq, live.device_id, live.rank, partition, entry_id, now, where, position_body(live, where))


class History:
    """Remembers the positions of devices that take part in events.

    The positions of a device only ever get newer here. One that is no newer than what is known is late, however it
    arrives: a tracker that uploads what it had buffered never moves a map back.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._recent: dict[str, deque[Sighting]] = {}
        self._known: dict[str, Rank] = {}
        # What was shown and found to be faulty: a tracker may send it again.
        self._taken_back: dict[str, Rank] = {}

    def __len__(self) -> int:
        return len(self._known)

    def known(self, device_id: str) -> Rank | None:
        """Return the rank of the newest position known of a device."""
        return self._known.get(device_id)

    def is_late(self, device_id: str, rank: Rank) -> bool:
        """Tell whether a position is no newer than what is known of its device, or than what was taken back."""
        is_new = is_newer(rank, self._known.get(device_id))
        # Nearly always nothing was taken back.
        if is_new and self._taken_back:
            is_new = is_newer(rank, self._taken_back.get(device_id))
        return not is_new

    def newest(self, device_id: str) -> Sighting | None:
        """Return the newest position of a device, if it has passed through."""
        recent = self._recent.get(device_id)
        # One older than what the database knows came late.
        return recent[-1] if recent and recent[-1].rank >= self._known[device_id] else None

    def add(self, sighting: Sighting) -> None:
        """Add a position that is newer than what is known of its device."""
        self._known[sighting.device_id] = sighting.rank
        taken_back = self._taken_back.get(sighting.device_id) if self._taken_back else None
        if taken_back is not None and sighting.rank >= taken_back:
            del self._taken_back[sighting.device_id]
        recent = self._recent.get(sighting.device_id)
        if recent is None:
            self._recent[sighting.device_id] = deque([sighting], maxlen=_MOST_KEPT)
            return
        recent.append(sighting)
        oldest = sighting.seen_at - KEPT_S
        while recent[0].seen_at < oldest:
            recent.popleft()

    def learn(self, newest: Mapping[str, Rank]) -> None:
        """Note what the database knows, once everything up to it has passed through here."""
        for device_id, rank in newest.items():
            if is_newer(rank, self._known.get(device_id)):
                self._known[device_id] = rank

    def correct(self, live: LivePosition, where: str, now: float) -> Sighting:
        """Put a position in place of all that is known of its device, and return it as it is sent.

        Args:
            live: Where the database has the device, by other rows than those that passed through.
            where: Cursor of everything delivered so far.
            now: Loop time, in seconds.
        """
        self.seq += 1
        sighting = sight(live, where, NO_ENTRY, partition=0, seq=self.seq, now=now)
        self.take_back(live.device_id)
        self.add(sighting)
        return sighting

    def take_back(self, device_id: str) -> None:
        """Drop all that is known of a device, which was faulty: it does not come back by being sent again."""
        known = self._known.pop(device_id, None)
        self._recent.pop(device_id, None)
        if known is not None:
            self._taken_back[device_id] = max(known, self._taken_back.get(device_id, known))

    def place(self, live: LivePosition, now: float) -> None:
        """Note where the database has a device of which nothing newer has passed: whoever resumes knows it."""
        sighting = sight(live, "", BEFORE_ALL, partition=0, seq=0, now=now)
        self._recent.pop(live.device_id, None)
        self.add(sighting)

    def prepend(self, found: Iterable[Sighting]) -> None:
        """Add positions from before the known ones, in stream order, as if they had passed through first."""
        earlier: dict[str, list[Sighting]] = {}
        for sighting in found:
            recent, taken_back = self._recent.get(sighting.device_id), self._taken_back.get(sighting.device_id)
            # What came before a correction is what was corrected.
            if is_newer(sighting.rank, taken_back) and (not recent or recent[0].entry_id != NO_ENTRY):
                earlier.setdefault(sighting.device_id, []).append(sighting)
        for device_id, sightings in earlier.items():
            kept = _rising([*sightings, *self._recent.get(device_id, ())])
            self._recent[device_id] = deque(kept, maxlen=_MOST_KEPT)
            self.learn({device_id: kept[-1].rank})

    def newer(self, devices: Iterable[str], than: Mapping[str, Rank], since: float) -> list[Sighting]:
        """Return the positions newer than another one of each device, in order.

        From before the loop time `since` only a device's newest one: its place counts, not the way there.
        """
        found = [
            sighting
            for device_id in devices
            if (recent := self._recent.get(device_id))
            for sighting in recent
            if (sighting.seen_at >= since or sighting is recent[-1]) and is_newer(sighting.rank, than.get(device_id))
        ]
        return sorted(found, key=_in_order)

    def missed(self, devices: Iterable[str], since: Vector) -> list[Sighting]:
        """Return the newest position of each device that came after a cursor, in order."""
        return self._newest(devices, lambda sighting: sighting.entry_id > since[sighting.partition])

    def after(self, devices: Iterable[str], seq: int) -> list[Sighting]:
        """Return the newest position of each device that passed after a number, in order."""
        return self._newest(devices, lambda sighting: sighting.seq > seq)

    def forget_unless(self, wanted: Callable[[str], object]) -> None:
        """Drop devices that no longer take part in any event."""
        for device_id in [device_id for device_id in self._known | self._taken_back if not wanted(device_id)]:
            self.forget(device_id)

    def forget(self, device_id: str) -> None:
        """Drop all that is known of a device, as if it had never sent anything."""
        self._known.pop(device_id, None)
        self._recent.pop(device_id, None)
        self._taken_back.pop(device_id, None)

    def _newest(self, devices: Iterable[str], wanted: Callable[[Sighting], bool]) -> list[Sighting]:
        found = [s for device_id in devices if (s := self.newest(device_id)) is not None and wanted(s)]
        return sorted(found, key=_in_order)


def _in_order(sighting: Sighting) -> tuple[int, EntryId]:
    return sighting.seq, sighting.entry_id


def _rising(sightings: list[Sighting]) -> list[Sighting]:
    rising: list[Sighting] = []
    for sighting in sightings:
        if not rising or is_newer(sighting.rank, rising[-1].rank):
            rising.append(sighting)
    return rising
