from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

    from telemetry_app.records.position import Position


class LivePosition(msgspec.Struct, frozen=True, gc=False):
    """Where a device is, as a map shows it.

    Attributes:
        device_id: IMEI of the tracker.
        lat: Degrees, -90 to 90.
        lon: Degrees, -180 to 180.
        ts_ms: When the tracker took the position, in milliseconds since the epoch.
        speed: Kilometres per hour.
        course: Course over ground in degrees.
    """

    device_id: str
    lat: float
    lon: float
    ts_ms: int
    speed: float
    course: float

    @classmethod
    def from_position(cls, position: Position) -> LivePosition:
        """Return what a map shows of a record."""
        ts_ms = epoch_ms(position.ts)
        return cls(position.device_id, position.latitude, position.longitude, ts_ms, position.speed, position.angle)


def epoch_ms(ts: datetime) -> int:
    """Return a time as milliseconds since the epoch.

    Records from the stream and from the database have to come out alike, because they are compared.
    """
    return round(ts.timestamp() * 1000)
