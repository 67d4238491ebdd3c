"""Looking again whether what maps show is still good: somebody may have marked it as faulty, or a newer one as good."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.delivery.fanout import FanOut
    from telemetry_app.live.ports import DeviceEvents
    from telemetry_app.live.positions.gather import Gatherer

#: How long to wait until what the database has may have passed here too; else the next review will do.
_PATIENCE_S: Final = 5.0
_POLL_S: Final = 0.05
#: Devices of one read, between which others have their turn.
_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Compares the devices of all events that somebody watches with the database, and shows what differs.

    Attributes:
        every_s: Time between two reviews.
    """

    registry: Registry
    fan_out: FanOut
    gatherer: Gatherer
    device_events: DeviceEvents
    every_s: float

    async def review(self) -> None:
        """Look once at everything that is watched; what cannot be read stays as it is."""
        watched = {device_id for event in self.registry.events() for device_id in self.device_events.devices_of(event)}
        devices = sorted(watched)
        for start in range(0, len(devices), _AT_ONCE):
            snapshot = await self.gatherer.snapshot(tuple(devices[start : start + _AT_ONCE]))
            if await self._has_caught_up(snapshot.made_at) and (found := self.gatherer.corrections(snapshot)):
                self.fan_out.correct(found)

    async def _has_caught_up(self, at: float) -> bool:
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while not (caught_up := self.fan_out.has_caught_up(at)) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - a read has no event
            await asyncio.sleep(_POLL_S)
        return caught_up
