"""Positions to begin from, as the stream and as the database have them, and what becomes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from faust_redis.redis.replies import EntryId
from telemetry_app.live.delivery.grouping import Passed, group
from telemetry_app.live.positions.history import History, Sighting
from telemetry_app.live.wire.position import LivePosition
from telemetry_app.records.position import Position
from tests.support import records


class Entries:
    """Devices of events, as a test enters them."""

    def __init__(self, devices: Mapping[str, Collection[str]]) -> None:
        self._devices: dict[str, frozenset[str]] = {}
        self.version = 0
        self.change(devices)

    def change(self, devices: Mapping[str, Collection[str]]) -> None:
        """Enter other devices into events; those of other events stay."""
        self._devices |= {event_id: frozenset(members) for event_id, members in devices.items()}
        self.version += 1

    def events_of(self, device_id: str) -> frozenset[str]:
        return frozenset(event_id for event_id, members in self._devices.items() if device_id in members)

    def devices_of(self, event_id: str) -> frozenset[str]:
        return self._devices.get(event_id, frozenset())

    def entries_of(self, event_id: str) -> Mapping[str, str]:
        """Return an entry for each device, called by its id."""
        return {device_id: device_id for device_id in self.devices_of(event_id)}


#: Two events; `b` takes part in both.
ENTRIES = Entries({"7": ["a", "b"], "8": ["b"]})


def position(
    device: str, ts_ms: int, *, lat: float = 41.0, lon: float = 21.0, speed: float = 33.0, satellites: int = 12
) -> Position:
    return records.position(
        device_id=device,
        ts=datetime.fromtimestamp(ts_ms / 1000, UTC),
        latitude=lat,
        longitude=lon,
        speed=speed,
        satellites=satellites,
        attributes=b"{}",
    )


def live_position(device: str, ts_ms: int, *, lat: float = 41.0) -> LivePosition:
    return LivePosition.from_position(position(device, ts_ms, lat=lat), ts_ms)


def entry(number: int) -> EntryId:
    """Return the id of an entry; entries are appended after all that they tell of."""
    return EntryId(1_000_000 + number, 0)


def passed(history: History, *given: tuple[str, int], first_id: int = 1, now: float = 100.0) -> Passed:
    """Let positions of devices, given with their timestamps, pass by a history."""
    decoded = [(position(device, ts_ms), str(entry(first_id + n)).encode()) for n, (device, ts_ms) in enumerate(given)]
    return group(decoded, ENTRIES.events_of, history, partition=0, tail="", now=now)


def seen(sightings: Iterable[Sighting]) -> list[tuple[str, int]]:
    """Return devices and timestamps."""
    return [(sighting.device_id, sighting.rank[1]) for sighting in sightings]
