"""The record of a tracker, as it travels and as everybody here sees it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    _Json = bytes
else:
    # What a decoder leaves as it stands in the payload; `read_entry` makes bytes of it, which keep nothing else alive.
    _Json = msgspec.Raw


class Position(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Hold one record of a tracker, as it was decoded from the stream.

    Attributes:
        device_id: IMEI of the tracker, never empty.
        ts: When the tracker took the position; aware, in UTC.
        latitude: Degrees, -90 to 90.
        longitude: Degrees, -180 to 180.
        altitude: Metres.
        angle: Course over ground in degrees.
        speed: Kilometres per hour.
        satellites: Satellites in view; 0 means that the tracker had no fix.
        priority: Teltonika's priority of the record, usually 0 to 2.
        attributes: The JSON object exactly as on the wire, sentinels inside, already validated.
        codec: Teltonika codec the record came in (`8`, `8E`, `16`), if the producer said so; it stands beside the
            payload, not in it.
    """

    device_id: Annotated[str, msgspec.Meta(min_length=1)]
    ts: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(name="timestamp")
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    altitude: float
    angle: float
    speed: float
    satellites: int
    priority: int
    attributes: _Json
    # All is read from the payload in one go, so this needs a name there that no payload has.
    codec: str | None = msgspec.field(default=None, name="codec, beside the payload")
