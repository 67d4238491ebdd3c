from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """Why a record is on the stream."""

    LIVE = "live"
    BACKLOG = "backlog"
    LATE = "late"
    RESENT = "resent"
    NO_FIX = "no-fix"
    CLOCK_AHEAD = "clock-ahead"


class Record(NamedTuple):
    """One record as tcp-ingestion appends it to the stream.

    Attributes:
        device_id: IMEI.
        ts: When the tracker says it took the position, UTC, whole milliseconds.
        codec: Teltonika codec it came in.
        payload: JSON.
        kind: For counting; not published.
    """

    device_id: str
    ts: datetime
    codec: str
    payload: bytes
    kind: Kind

    def fields(self) -> dict[str, bytes | str]:
        """Return the fields of the stream entry."""
        return {
            "ts": iso_ms(self.ts),
            "device_id": self.device_id,
            "codec": self.codec,
            "payload": self.payload,
        }


def iso_ms(ts: datetime) -> str:
    """Return a UTC time as tcp-ingestion writes it, such as `2026-05-02T12:00:00.000Z`."""
    return f"{ts:%Y-%m-%dT%H:%M:%S}.{ts.microsecond // 1000:03d}Z"
