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
        touched: When this state last changed, in stream order: the id of the batch's first entry as two numbers, and
            a number within the batch.
    """

    last_seen: datetime
    latitude: float
    longitude: float
    altitude: float
    angle: float
    speed: float
    satellites: int
    count: int
    touched: tuple[int, int, int]


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
    ms, sequence = batch_position
    return {
        device_id: _advance(states.get(device_id), position, counts[device_id], (ms, sequence, number))
        for number, (device_id, position) in enumerate(newest.items())
    }


def _advance(state: DeviceState | None, newest: Position, count: int, touched: tuple[int, int, int]) -> DeviceState:
    if state is not None:
        count += state.count
        if state.last_seen >= newest.ts:
            return DeviceState(
                state.last_seen,
                state.latitude,
                state.longitude,
                state.altitude,
                state.angle,
                state.speed,
                state.satellites,
                count,
                touched,
            )
    return DeviceState(
        newest.ts,
        newest.latitude,
        newest.longitude,
        newest.altitude,
        newest.angle,
        newest.speed,
        newest.satellites,
        count,
        touched,
    )
