"""What a client is shown first: the database's newest positions, and those not stored yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from telemetry_app.live.positions.history import KEPT_S
from telemetry_app.live.wire.position import is_newer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telemetry_app.live.ports import StoredPositions
    from telemetry_app.live.positions.history import History, Sighting
    from telemetry_app.live.wire.position import LivePosition, Rank


class Snapshot(NamedTuple):
    """What the database knew of devices at one time.

    Attributes:
        devices: The devices.
        complete: Whether the database could be asked.
        positions: Newest position of each device, faulty ones left out; none when it could not.
        passed: Newest position of each device that had passed through here when the read began.
        covered: Newest stored position of each device as far as it had passed, or the one above if that is newer.
        begun_at: Loop time at which the read began.
        made_at: Loop time at which it ended.
    """

    devices: tuple[str, ...]
    complete: bool
    positions: list[LivePosition]
    passed: Mapping[str, Rank]
    covered: Mapping[str, Rank]
    begun_at: float
    made_at: float


class Gatherer:
    """Reads snapshots; whoever asks for devices that are being read shares that read.

    Nothing is lost by it: what passes during the read, or did shortly before, is found in the history.
    """

    def __init__(self, stored: StoredPositions, history: History) -> None:
        self._stored = stored
        self._history = history
        self._reading: dict[tuple[str, ...], asyncio.Task[Snapshot]] = {}

    async def snapshot(self, devices: tuple[str, ...]) -> Snapshot:
        """Return what the database knows of devices; nothing where it cannot be read."""
        task = self._reading.get(devices)
        if task is None:
            task = asyncio.create_task(self._read(devices))
            self._reading[devices] = task
            task.add_done_callback(lambda _: self._reading.pop(devices))
        # A client that leaves must not cancel the read for the others.
        return await asyncio.shield(task)

    def unstored(self, devices: tuple[str, ...], snapshot: Snapshot) -> list[Sighting]:
        """Return the positions of the same devices that the database did not have yet, in order."""
        return self._history.newer(devices, snapshot.covered, since=snapshot.begun_at - KEPT_S)

    def corrections(self, snapshot: Snapshot) -> list[LivePosition]:
        """Return the positions that differ from what was shown, when everything up to the snapshot has passed.

        Somebody marked what was shown as faulty, or a newer one as good.
        """
        return [position for position in snapshot.positions if self._differs(position, snapshot)]

    def hidden(self, snapshot: Snapshot) -> list[str]:
        """Return the devices of which every position is marked as faulty, though one was shown."""
        good = {position.device_id for position in snapshot.positions}
        return [d for d in snapshot.devices if snapshot.complete and d not in good and self._is_stored(d, snapshot)]

    def _differs(self, position: LivePosition, snapshot: Snapshot) -> bool:
        known = self._history.known(position.device_id)
        if is_newer(position.rank, known):
            return True
        # What was shown is stored, and still another one is the newest good one.
        return position.rank != known and self._is_stored(position.device_id, snapshot)

    def _is_stored(self, device_id: str, snapshot: Snapshot) -> bool:
        """Tell whether what has been shown of a device since before the read is stored, good or faulty."""
        known = self._history.known(device_id)
        return known is not None and known == snapshot.passed.get(device_id) == snapshot.covered.get(device_id)

    async def _read(self, devices: tuple[str, ...]) -> Snapshot:
        begun_at = asyncio.get_running_loop().time()
        passed = {device_id: rank for device_id in devices if (rank := self._history.known(device_id)) is not None}
        # Before the positions, which then include what is stored in between.
        covered = dict(await self._stored.stored_until(passed)) if passed else {}
        stored = await self._stored.newest(devices) if devices else []
        positions = stored or []
        for position in positions:
            if is_newer(position.rank, covered.get(position.device_id)):
                covered[position.device_id] = position.rank
        made_at = asyncio.get_running_loop().time()
        return Snapshot(devices, stored is not None, positions, passed, covered, begun_at, made_at)
