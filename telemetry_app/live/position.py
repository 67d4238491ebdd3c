from __future__ import annotations

import msgspec


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
