"""What a client is shown first: the database's newest positions, and those not stored yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from telemetry_app.live.positions.history import KEPT_S
from telemetry_app.live.wire.position import Rank, is_newer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from telemetry_app.live.ports import StoredPositions
    from telemetry_app.live.positions.history import History, Sighting
    from telemetry_app.live.wire.position import LivePosition

T = TypeVar("T")

#: Records are refused that are more than a day ahead.
_LATEST_MS: Final = 2 * 86_400_000


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


class _Shared(Generic[T]):
    """Reads under way: whoever asks for the same joins."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, ...], asyncio.Task[T]] = {}

    async def get(self, devices: tuple[str, ...], read: Callable[[tuple[str, ...]], Coroutine[Any, Any, T]]) -> T:
        """Return what a read of devices gives."""
        task = self._tasks.get(devices)
        if task is None:
            task = asyncio.create_task(read(devices))
            self._tasks[devices] = task
            task.add_done_callback(lambda _: self._tasks.pop(devices))
        # A client that leaves must not cancel the read for the others.
        return await asyncio.shield(task)


class Gatherer:
    """Reads snapshots; whoever asks for devices that are being read shares that read.

    Nothing is lost by it: what passes during the read, or did shortly before, is found in the history.
    """

    def __init__(self, stored: StoredPositions, history: History) -> None:
        self._stored = stored
        self._history = history
        self._reading = _Shared[Snapshot]()
        self._looking = _Shared[Mapping[str, Rank]]()

    async def snapshot(self, devices: tuple[str, ...]) -> Snapshot:
        """Return what the database knows of devices; nothing where it cannot be read."""
        return await self._reading.get(devices, self._read)

    async def only_faulty(self, snapshot: Snapshot) -> list[str]:
        """Return the devices that have positions, but no good one, as far as anybody knows."""
        good = {position.device_id for position in snapshot.positions}
        without = tuple(d for d in snapshot.devices if snapshot.complete and d not in good)
        stored = await self._looking.get(without, self._look) if without else {}
        return [device_id for device_id in without if device_id in stored and self._history.newest(device_id) is None]

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

    async def _look(self, devices: tuple[str, ...]) -> Mapping[str, Rank]:
        """Return the last stored position of each device, good or faulty."""
        latest_ms = round(time.time() * 1000) + _LATEST_MS
        return await self._stored.stored_until(dict.fromkeys(devices, (latest_ms, latest_ms)))

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
