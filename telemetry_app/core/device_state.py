"""What is known about each device: its last position, and how many it has sent."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telemetry_app.shared.position import Position


class DeviceState(msgspec.Struct, frozen=True, gc=False):
    """State of one device.

    Attributes:
        last_seen: Greatest timestamp of its positions; the other fields are of that position.
        latitude: Degrees north.
        longitude: Degrees east.
        altitude: Metres.
        angle: Course in degrees.
        speed: Kilometres per hour.
        satellites: Satellites in view.
        count: Positions received, late and resent ones included.
        touched: When this state last changed: the id of the first entry of that batch, as milliseconds and sequence.
        turn: Its place among the devices that the same batch changed.
    """

    last_seen: datetime
    latitude: float
    longitude: float
    altitude: float
    angle: float
    speed: float
    satellites: int
    count: int
    touched: tuple[int, int]
    turn: int


def fold(
    states: Mapping[str, DeviceState], positions: Sequence[Position], batch_position: tuple[int, int]
) -> dict[str, DeviceState]:
    """Return the new states of the devices in a batch; `states` is left as it is.

    A record that is older than what is known, as bulk uploads and newest-first packets bring, is counted but moves
    nothing back. Of two records with one timestamp the first one stays.

    Args:
        states: What is known so far, by device id.
        positions: The batch's positions in stream order.
        batch_position: Id of the batch's first entry, as milliseconds and sequence.
    """
    newest: dict[str, Position] = {}
    counts: dict[str, int] = {}
    for position in positions:
        device_id = position.device_id
        known = newest.get(device_id)
        if known is None:
            newest[device_id] = position
            counts[device_id] = 1
            continue
        counts[device_id] += 1
        if position.ts > known.ts:
            newest[device_id] = position
    changes: dict[str, DeviceState] = {}
    known_state = states.get
    for turn, (device_id, position) in enumerate(newest.items()):
        count = counts[device_id]
        last: DeviceState | Position = position
        seen = position.ts
        if (state := known_state(device_id)) is not None:
            count += state.count
            if state.last_seen >= seen:
                last, seen = state, state.last_seen
        changes[device_id] = DeviceState(
            seen,
            last.latitude,
            last.longitude,
            last.altitude,
            last.angle,
            last.speed,
            last.satellites,
            count,
            batch_position,
            turn,
        )
    return changes
