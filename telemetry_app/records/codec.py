"""From an entry of the stream to a position, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from telemetry_app.records.attributes import (
    MAX_DEPTH,
    check_attributes,
    depth_exceeds,
    doubtful_among,
    pack_attributes,
    storable_attributes,
    storable_attributes_of,
    unpack_attributes,
)
from telemetry_app.records.position import Position
from telemetry_app.records.refusal import CodecError, explain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "EARLIEST",
    "MAX_DEPTH",
    "MAX_PAYLOAD_BYTES",
    "CodecError",
    "check_attributes",
    "decode",
    "decode_entry",
    "doubtful_among",
    "encode",
    "pack_attributes",
    "read_entry",
    "storable_attributes",
    "storable_attributes_of",
    "unpack_attributes",
]

# Records of trackers are a few hundred bytes; the largest an AVL packet can carry stays far below this.
MAX_PAYLOAD_BYTES = 64 * 1024
# A tracker without a fix since its last cold start counts from 1970 or from its firmware's date.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class _Payload(msgspec.Struct, gc=False):
    """The payload as on the wire. Attributes stay raw: the database takes them as they are."""

    device_id: Annotated[str, msgspec.Meta(min_length=1)]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    altitude: float
    angle: float
    speed: float
    satellites: int
    priority: int
    attributes: msgspec.Raw


# tcp-ingestion writes `ts`, `device_id`, `codec` and `payload`, in this order.
_USUAL_LENGTH = 8
# As numbers: looking for one byte so needs no object.
_LIST, _OBJECT = b"[{"
_decoder = msgspec.json.Decoder(_Payload)


def decode_entry(fields: Sequence[bytes], *, latest: datetime) -> Position:
    """Decode one stream entry.

    Args:
        fields: Name, value, name, value ... as Redis returns them, in any order. Only `payload` is required; `codec` is
            kept, others are ignored, and so is a last name without a value.
        latest: Newest timestamp to accept, aware. The oldest is `EARLIEST`.

    Raises:
        CodecError: With the field at fault; whatever the input, nothing else.
    """
    position = read_entry(fields, latest=latest)
    check_attributes(position.attributes)
    return position


def read_entry(fields: Sequence[bytes], *, latest: datetime) -> Position:
    """Decode one stream entry except for its attributes, which the caller checks, many at once.

    Raises:
        CodecError: As `decode_entry`.
    """
    # Of fields with one name the last counts, so whatever comes before these two does not matter.
    if len(fields) == _USUAL_LENGTH and fields[6] == b"payload" and fields[4] == b"codec":
        return _read(fields[7], latest, fields[5].decode(errors="replace"))
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    payload, codec = named.get(b"payload"), named.get(b"codec")
    if payload is None:
        raise CodecError("payload", "is missing")
    return _read(payload, latest, None if codec is None else codec.decode(errors="replace"))


def decode(payload: bytes, *, latest: datetime, codec: str | None = None) -> Position:
    """Decode the JSON payload of an entry.

    Args:
        payload: As tcp-ingestion wrote it.
        latest: Newest timestamp to accept, aware.
        codec: Handed through to the position.

    Raises:
        CodecError: With the field at fault; whatever the input, nothing else.
    """
    position = _read(payload, latest, codec)
    check_attributes(position.attributes)
    return position


def _read(payload: bytes, latest: datetime, codec: str | None) -> Position:
    # An ordinary record passes the bounds without a call: it is short, ASCII, without lists and with few objects.
    if (
        len(payload) > MAX_PAYLOAD_BYTES
        or not payload.isascii()
        or _LIST in payload
        or payload.count(_OBJECT) > MAX_DEPTH
    ):
        _check_bounds(payload)
    try:
        wire = _decoder.decode(payload)
    except msgspec.DecodeError as exc:
        raise explain(payload, exc) from exc
    ts = wire.timestamp
    if ts.tzinfo is not UTC or ts < EARLIEST or ts > latest:
        ts = _utc_within(ts, latest)
    return Position(
        wire.device_id,
        ts,
        wire.latitude,
        wire.longitude,
        wire.altitude,
        wire.angle,
        wire.speed,
        wire.satellites,
        wire.priority,
        bytes(wire.attributes),
        codec,
    )


def encode(position: Position) -> bytes:
    """Return the JSON payload of a position; `codec` is a field of the entry beside it."""
    return msgspec.json.encode(
        _Payload(
            position.device_id,
            position.ts,
            position.latitude,
            position.longitude,
            position.altitude,
            position.angle,
            position.speed,
            position.satellites,
            position.priority,
            msgspec.Raw(position.attributes),
        )
    )


def _check_bounds(payload: bytes) -> None:
    """Refuse what would cost more than a record can be worth, before anything reads it."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise CodecError("payload", f"has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as exc:
            raise CodecError("payload", f"is not UTF-8 (byte {exc.start})") from exc
    if depth_exceeds(payload, MAX_DEPTH):
        raise CodecError("payload", f"is nested deeper than {MAX_DEPTH} levels")


def _utc_within(ts: datetime, latest: datetime) -> datetime:
    if not EARLIEST <= ts <= latest:
        bound = f"before {EARLIEST.isoformat()}" if ts < EARLIEST else f"after {latest.isoformat()}"
        raise CodecError("timestamp", f"{ts.isoformat()} is {bound}")
    return ts if ts.tzinfo is UTC else ts.astimezone(UTC)
