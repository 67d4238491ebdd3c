"""What is known about each device: its last position, and how many it has sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from telemetry_app.records.quality import NEVER, as_seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from faust_redis.redis.replies import EntryId
    from telemetry_app.records.position import Position


class DeviceState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """State of one device; encoded as an array, so a new field goes last and has a default.

    Attributes:
        last_seen: Greatest effective time of its good positions (see `records.quality`); latitude to satellites are of
            that position. 1970 while all of its positions are faulty.
        count: Positions received, late, resent and faulty ones included.
        latitude: Degrees north.
        longitude: Degrees east.
        altitude: Metres.
        angle: Course in degrees.
        speed: Kilometres per hour.
        satellites: Satellites in view.
        touched: When this state last changed: the id of the first entry of that batch, as milliseconds and sequence.
    """

    last_seen: datetime
    count: int
    latitude: float
    longitude: float
    altitude: float
    angle: float
    speed: float
    satellites: int
    touched: tuple[int, int]


class _Seen(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The first fields of an encoded `DeviceState`: usually all that is needed of it."""

    last_seen: datetime
    count: int


#: Name of the table that holds them.
TABLE: Final = "device_state"

_encode = msgspec.msgpack.Encoder().encode
_decode_seen = msgspec.msgpack.Decoder(_Seen).decode
_decode = msgspec.msgpack.Decoder(DeviceState).decode


def fold(states: Mapping[str, bytes], positions: Sequence[Position], first_id: EntryId) -> dict[str, bytes]:
    """Return the new states of the devices in a batch; `states` is left as it is.

    A record that is older than what is known, as bulk uploads and newest-first packets bring, is counted but moves
    nothing back. Of two records with one effective time the first one stays.

    A known time that is still to come was stored by an earlier release, which believed the trackers' clocks: any good
    position takes its place.

    Args:
        states: What is known so far, by device id; each is a `DeviceState` as msgpack, as are the new ones.
        positions: The batch's positions in stream order.
        first_id: Id of the batch's first entry.
    """
    newest: dict[str, Position] = {}
    repeats: dict[str, int] = {}
    newest_or_this = newest.setdefault
    for position in as_seen(positions):
        device_id = position.device_id
        known = newest_or_this(device_id, position)
        if known is position:
            continue
        repeats[device_id] = repeats.get(device_id, 0) + 1
        if position.ts > known.ts:
            newest[device_id] = position
    changes: dict[str, bytes] = {}
    # All lookups at once: the processor then waits for several cold entries of a large table at the same time.
    known_states = list(map(states.get, newest))
    for (device_id, position), encoded in zip(newest.items(), known_states, strict=True):
        count = 1
        if device_id in repeats:
            count += repeats[device_id]
        last: DeviceState | Position = position
        last_seen = position.ts
        if encoded is not None:
            seen = _decode_seen(encoded)
            count += seen.count
            if seen.last_seen >= last_seen:
                state = _decode(encoded)
                if last_seen == NEVER or not _is_still_to_come(state, first_id):
                    last, last_seen = state, state.last_seen
        changes[device_id] = _encode(
            DeviceState(
                last_seen,
                count,
                last.latitude,
                last.longitude,
                last.altitude,
                last.angle,
                last.speed,
                last.satellites,
                first_id,
            )
        )
    return changes


def _is_still_to_come(state: DeviceState, now: EntryId) -> bool:
    """Tell whether a state is of a time after a later batch's first entry."""
    return state.touched < now and state.last_seen > datetime.fromtimestamp(now.ms / 1000, UTC)


def combine(one: bytes, other: bytes) -> bytes:
    """Return the state of a device of which two partitions have one, each of the positions that it saw."""
    first, second = _decode(one), _decode(other)
    last = second if second.last_seen > first.last_seen else first
    count, touched = first.count + second.count, max(first.touched, second.touched)
    return _encode(msgspec.structs.replace(last, count=count, touched=touched))
