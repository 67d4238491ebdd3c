"""Looking again whether what maps show is still good: somebody may have marked it as faulty, or a newer one as good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from telemetry_app.live.wire.protocol import topic_of

if TYPE_CHECKING:
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.delivery.fanout import FanOut
    from telemetry_app.live.ports import DeviceEvents
    from telemetry_app.live.positions.gather import Gatherer
    from telemetry_app.live.positions.history import History

#: Devices of one read, between which others have their turn.
_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Compares the devices of all events that somebody watches with the database, and shows what differs.

    Attributes:
        every_s: Time between two reviews.
    """

    registry: Registry
    history: History
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
            if snapshot.complete and await self.fan_out.catches_up(snapshot.made_at):
                self.fan_out.correct(self.gatherer.corrections(snapshot))
                for device_id in self.gatherer.hidden(snapshot):
                    self._hide(device_id)

    def _hide(self, device_id: str) -> None:
        """Take a device from all maps until it has a good position again."""
        self.history.take_back(device_id)
        for event_id in self.device_events.events_of(device_id):
            for subscription in self.registry.subscribers(topic_of(event_id)):
                subscription.hide(device_id)
