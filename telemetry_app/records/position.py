from datetime import datetime

import msgspec


class Position(msgspec.Struct, frozen=True, gc=False):
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
        codec: Teltonika codec the record came in (`8`, `8E`, `16`), if the producer said so.
    """

    device_id: str
    ts: datetime
    latitude: float
    longitude: float
    altitude: float
    angle: float
    speed: float
    satellites: int
    priority: int
    attributes: bytes
    codec: str | None = None
