from datetime import datetime
import msgspec


class Position(msgspec.Struct, frozen=True, gc=False):
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
