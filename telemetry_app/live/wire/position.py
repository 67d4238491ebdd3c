from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from telemetry_app.records.quality import epoch_ms

if TYPE_CHECKING:
    from telemetry_app.records.position import Position

#: What decides which of a device's positions is newer: effective time (see `records.quality`), then timestamp, in epoch
#: ms.
Rank = tuple[int, int]


class LivePosition(msgspec.Struct, frozen=True, gc=False):
    """Where a device is, as a map shows it.

    Attributes:
        device_id: IMEI of the tracker.
        lat: Degrees, -90 to 90.
        lon: Degrees, -180 to 180.
        ts_ms: When the tracker took the position, in milliseconds since the epoch.
        speed: Kilometres per hour.
        course: Course over ground in degrees.
        rank: What decides whether it is newer than another one of its device.
    """

    device_id: str
    lat: float
    lon: float
    ts_ms: int
    speed: float
    course: float
    rank: Rank

    @classmethod
    def from_position(cls, position: Position, appended_ms: int) -> LivePosition:
        """Return what a map shows of a record that was appended then."""
        ts_ms = epoch_ms(position.ts)
        return cls(
            position.device_id,
            position.latitude,
            position.longitude,
            ts_ms,
            position.speed,
            position.angle,
            (min(ts_ms, appended_ms), ts_ms),
        )


def is_newer(rank: Rank, known: Rank | None) -> bool:
    """Tell whether a position is newer than the known one of its device; one with its timestamp is the same again."""
    return known is None or (rank > known and rank[1] != known[1])
