"""Telling clients who devices are: at subscribe, and later of those that were entered meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from telemetry_app.live.wire.protocol import Entries, encode

if TYPE_CHECKING:
    from telemetry_app.live.clients.subscription import Subscription
    from telemetry_app.live.ports import DeviceEvents, EventDetails
    from telemetry_app.live.wire.protocol import EntryFields

#: Devices of one frame: some tens of kilobytes.
_TOGETHER: Final = 200


@dataclass(frozen=True, slots=True)
class Namer:
    """Asks what a client may know of the entries of an event, with the client's own session."""

    device_events: DeviceEvents
    details: EventDetails

    async def name(self, subscription: Subscription) -> dict[str, EntryFields]:
        """Return what a client may be told of each device of its event, and note of which that was asked."""
        event_id = subscription.event_id
        devices, entry_ids = self.device_events.devices_of(event_id), self.device_events.entries_of(event_id)
        edition = self.device_events.version
        entries = await self.details.entries(event_id, subscription.connection.credentials, edition)
        if entries is None:
            return {}
        subscription.named = devices
        return {device_id: entries[entry_id] for device_id, entry_id in entry_ids.items() if entry_id in entries}

    async def name_newcomers(self, subscription: Subscription) -> None:
        """Tell a client of devices that were entered since it was told, or of all if nobody could be asked then."""
        known = subscription.named
        if known is self.device_events.devices_of(subscription.event_id):
            return
        named = await self.name(subscription)
        news = iter([(device_id, entry) for device_id, entry in named.items() if device_id not in known])
        connection = subscription.connection
        while some := dict(islice(news, _TOGETHER)):
            frame = encode(Entries(subscription.topic, some))
            if not subscription.stands or not connection.may_write(len(frame), caught_up=True):
                # The next time, then.
                subscription.named = known
                return
            connection.send(frame)
            known |= some.keys()
