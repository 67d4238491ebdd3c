"""From an entry of the stream to a position, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from faust_redis.redis.packing import unpacked
from telemetry_app.records.attributes import (
    MAX_DEPTH,
    check_attributes,
    depth_exceeds,
    inspect,
    pack_attributes,
    storable_attributes,
    storable_attributes_of,
    too_deep,
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
    "check",
    "decode",
    "decode_entry",
    "encode",
    "inspect",
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


# Room for the other fields, in bytes: fewer hold no object as deep as MAX_DEPTH beside them.
_ROOM = 256

# tcp-ingestion writes `ts`, `device_id`, `codec` and `payload`, in this order.
_USUAL_LENGTH = 8
# As a number: looking for one byte so needs no object.
_LIST = b"["[0]
_CODECS = {name.encode(): name for name in ("8", "8E", "16")}
_decode = msgspec.json.Decoder(Position).decode
_amend = msgspec.structs.force_setattr


def decode_entry(fields: Sequence[bytes], *, latest: datetime) -> Position:
    """Decode one stream entry.

    Args:
        fields: Name, value, name, value ... as Redis returns them, in any order. Only `payload` is required; `codec` is
            kept, others are ignored, and so is a last name without a value. Those of very many values may be packed.
        latest: Newest timestamp to accept, aware. The oldest is `EARLIEST`.

    Raises:
        CodecError: With the field at fault; whatever the input, nothing else.
    """
    position = read_entry(fields)
    check(position, latest)
    return position


def decode(payload: bytes, *, latest: datetime, codec: str | None = None) -> Position:
    """Decode the JSON payload of an entry.

    Args:
        payload: As tcp-ingestion wrote it.
        latest: Newest timestamp to accept, aware.
        codec: Handed through to the position.

    Raises:
        CodecError: With the field at fault; whatever the input, nothing else.
    """
    return decode_entry(
        [b"payload", payload] + ([b"codec", codec.encode()] if codec is not None else []), latest=latest
    )


def read_entry(fields: Sequence[bytes]) -> Position:
    """Decode one stream entry without `check`, for which the caller looks at many at once.

    Raises:
        CodecError: As `decode_entry`.
    """
    # Of fields with one name the last counts, so whatever comes before these two does not matter.
    codec: bytes | None
    if len(fields) == _USUAL_LENGTH and fields[6] == b"payload" and fields[4] == b"codec":
        codec, payload = fields[5], fields[7]
    else:
        codec, payload = _named(fields)
    # An ordinary record passes the bounds without a call: it is short, ASCII and without lists.
    if len(payload) > MAX_PAYLOAD_BYTES or _LIST in payload or not payload.isascii():
        _check_bounds(payload)
    try:
        position = _decode(payload)
    except RecursionError as exc:
        raise too_deep() from exc
    except msgspec.DecodeError as exc:
        _check_bounds(payload)
        raise explain(payload, exc) from exc
    attributes = bytes(position.attributes)
    _amend(position, "attributes", attributes)
    if len(payload) - len(attributes) > _ROOM:
        _check_bounds(payload)
    if position.ts.tzinfo is not UTC:
        _amend(position, "ts", _in_utc(position.ts))
    if codec is not None:
        _amend(position, "codec", _CODECS.get(codec) or codec.decode(errors="replace"))
    return position


def check(position: Position, latest: datetime) -> None:
    """Make sure of what `read_entry` leaves open: when a position was taken, and its attributes.

    Raises:
        CodecError: As `decode_entry`.
    """
    _check_time(position.ts, latest)
    check_attributes(position.attributes)


def _named(fields: Sequence[bytes]) -> tuple[bytes | None, bytes]:
    """Return codec and payload from wherever they stand."""
    named = _by_name(fields)
    if b"payload" not in named:
        named = _by_name(unpacked(fields))
    payload = named.get(b"payload")
    if payload is None:
        raise CodecError("payload", "is missing")
    return named.get(b"codec"), payload


def _by_name(fields: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=False))


def encode(position: Position) -> bytes:
    """Return the JSON payload of a position; `codec` is a field of the entry beside it."""
    wire = msgspec.structs.replace(position, attributes=msgspec.Raw(position.attributes), codec=None)
    return msgspec.json.encode(wire)


def _check_bounds(payload: bytes) -> None:
    """Refuse what would cost more than a record can be worth."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise CodecError("payload", f"has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as exc:
            raise CodecError("payload", f"is not UTF-8 (byte {exc.start})") from exc
    if depth_exceeds(payload, MAX_DEPTH):
        raise too_deep()


def _check_time(ts: datetime, latest: datetime) -> None:
    if not EARLIEST <= ts <= latest:
        bound = f"before {EARLIEST.isoformat()}" if ts < EARLIEST else f"after {latest.isoformat()}"
        raise CodecError("timestamp", f"{ts.isoformat()} is {bound}")


def _in_utc(ts: datetime) -> datetime:
    try:
        return ts.astimezone(UTC)
    except OverflowError:
        # At an end of the calendar, where `check` refuses it.
        return ts
