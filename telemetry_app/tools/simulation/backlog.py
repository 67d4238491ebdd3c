"""Records for benchmarks: all alike, and made in a microsecond or two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from telemetry_app.tools.simulation.imei import imei
from telemetry_app.tools.simulation.record import iso_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = datetime(2026, 1, 1, tzinfo=UTC)
# 18 plain attributes and the two sentinels; 490 bytes with the rest of the payload.
_PAYLOAD = (
    b'{"device_id":"%b","timestamp":"%b","latitude":41.99%05d,"longitude":21.43%05d,"altitude":245,"angle":%d,"speed":%d,'
    b'"satellites":12,"priority":0,"attributes":{"239":1,"240":true,"80":0,"21":4,"200":0,"69":1,"113":100,"181":12,"182":8,'
    b'"66":13874,"67":4087,"68":0,"24":%d,"205":31042,"206":1204,"241":29401,"199":1532,"16":184223441,'
    b'"78":{"__bigint":"72057594476706560"},"10828":{"__buffer_b64":"HJd2e8mJvK3qn0Ed0aXhc8LkVw1Qb8sMZ3xXn5oYc2E1q8Zr0sLw7f4T"}}}'
)


def bench_records(n: int, devices: int = 500) -> Iterator[list[bytes]]:
    """Yield `n` stream entries as flat lists of names and values, no two of the same device and time.

    Every device has a record a second, and the devices take turns, as in a long backlog of many of them.
    """
    ids = [imei(number).encode() for number in range(devices)]
    stamp = b""
    for number in range(n):
        second, device = divmod(number, devices)
        if device == 0:
            stamp = iso_ms(_START + timedelta(seconds=second)).encode()
        device_id, speed = ids[device], 30 + number % 70
        payload = _PAYLOAD % (
            device_id, stamp, number % 100_000, device % 100_000, number % 360, speed, speed
        )  # fmt: skip
        yield [b"ts", stamp, b"device_id", device_id, b"codec", b"8E", b"payload", payload]
