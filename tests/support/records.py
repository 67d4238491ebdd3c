"""Records to begin from, on the wire and decoded, when testing what happens to them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from telemetry_app.records.position import Position

FIRST_TS = datetime(2026, 5, 2, 12, tzinfo=UTC)
LATEST = datetime(2026, 6, 1, tzinfo=UTC)
ATTRIBUTES: dict[str, Any] = {
    "239": 1,
    "78": {"__bigint": "1152921504606846976"},
    "10828": {"__buffer_b64": "3q2+7w=="},
    "240": True,
    "label": "x",
}


def record(**changes: Any) -> dict[str, Any]:
    """A valid record; a change to `...` leaves the field out."""
    fields = {
        "device_id": "356307042441013",
        "timestamp": "2026-05-02T12:00:00.000Z",
        "latitude": 41.99,
        "longitude": 21.43,
        "altitude": 240,
        "angle": 180,
        "speed": 33,
        "satellites": 12,
        "priority": 0,
        "attributes": ATTRIBUTES,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def payload(**changes: Any) -> bytes:
    """The JSON of `record(**changes)` as the producer writes it."""
    return json.dumps(record(**changes), separators=(",", ":")).encode()


def payload_with(field: str, value: str | bytes) -> bytes:
    """A valid payload but for `field`, whose value is put in as it is, JSON or not."""
    raw = value if isinstance(value, bytes) else value.encode()
    return payload(**{field: "@@"}).replace(b'"@@"', raw)


def fields(**changes: Any) -> list[bytes]:
    """The fields of `record(**changes)` as a stream entry."""
    return [b"codec", b"8E", b"payload", payload(**changes)]


_PLAIN = Position(
    device_id="356307042441013",
    ts=FIRST_TS,
    latitude=41.99,
    longitude=21.43,
    altitude=240.0,
    angle=180.0,
    speed=33.0,
    satellites=12,
    priority=0,
    attributes=b'{"239":1,"240":true,"label":"x"}',
    codec="8E",
)


def position(second: int = 0, **changes: Any) -> Position:
    """Return a position that many seconds after the first; one key for each second."""
    return msgspec.structs.replace(_PLAIN, **{"ts": FIRST_TS + timedelta(seconds=second), **changes})


def positions(count: int, *, first: int = 0) -> list[Position]:
    return [position(first + second) for second in range(count)]
