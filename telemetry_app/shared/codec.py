import re
from datetime import datetime
import msgspec
from telemetry_app.shared.position import Position


class CodecError(ValueError):
    def __init__(self, field, reason):
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class W(msgspec.Struct, gc=False):
    device_id: str
    timestamp: datetime
    latitude: float
    longitude: float
    altitude: float
    angle: float
    speed: float
    satellites: int
    priority: int
    attributes: msgspec.Raw


_dec = msgspec.json.Decoder(W).decode
_S = re.compile(rb'\{"__(?:bigint|buffer_b64)":("[^"]*")\}')


def decode_entry(fields, *, latest):
    payload = None
    codec = None
    for i in range(0, len(fields), 2):
        if fields[i] == b"payload":
            payload = fields[i + 1]
        elif fields[i] == b"codec":
            codec = fields[i + 1].decode()
    if payload is None:
        raise CodecError("payload", "missing")
    try:
        w = _dec(payload)
    except msgspec.MsgspecError as e:
        raise CodecError("payload", str(e))
    if w.timestamp > latest:
        raise CodecError("timestamp", "ahead")
    return Position(
        w.device_id,
        w.timestamp,
        w.latitude,
        w.longitude,
        w.altitude,
        w.angle,
        w.speed,
        w.satellites,
        w.priority,
        bytes(w.attributes),
        codec,
    )


def storable_attributes(raw):
    return _S.sub(rb"\1", raw).decode()
