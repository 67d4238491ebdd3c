"""Records for benchmarks: all alike, and made in a microsecond or two."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry_app.tools.simulation.imei import imei
from telemetry_app.tools.simulation.record import iso_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = datetime(2026, 1, 1, tzinfo=UTC)
_SENTINELS = (
    b'"78":{"__bigint":"72057594476706560"},'
    b'"10828":{"__buffer_b64":"HJd2e8mJvK3qn0Ed0aXhc8LkVw1Qb8sMZ3xXn5oYc2E1q8Zr0sLw7f4T"}'
)
_PAYLOAD = (
    b'{"device_id":"%b","timestamp":"%b","latitude":41.99%05d,"longitude":21.43%05d,"altitude":245,"angle":%d,"speed":%d,'
    b'"satellites":12,"priority":0,"attributes":{%b,' + _SENTINELS + b"}}"
)
_USUAL = (
    b'"239":1,"240":true,"80":0,"21":4,"200":0,"69":1,"113":100,"181":12,"182":8,"66":13874,"67":4087,"68":0,"24":%d,'
    b'"205":31042,"206":1204,"241":29401,"199":1532,"16":184223441'
)
_SPEEDS = range(30, 100)
_IO_ELEMENTS = (239, 240, 80, 21, 200, 69, 113, 181, 182, 66, 67, 68, 24, 205, 206, 241, 199, 16)
# A prime: whatever the number of devices, each has all of them in turn.
_DIFFERENT_DIGITS = 997


class RecordKind(StrEnum):
    """What a record's 18 plain attributes are; two sentinels come with them.

    USUAL: Mostly small numbers that stay the same, as most trackers send.
    DIGITS: Numbers of up to five digits, none like the last, as from many sensors.
    """

    USUAL = "usual"
    DIGITS = "digits"


def bench_records(n: int, devices: int = 500, kind: RecordKind = RecordKind.USUAL) -> Iterator[list[bytes]]:
    """Yield `n` stream entries as flat lists of names and values, no two of the same device and time.

    Every device has a record a second, and the devices take turns, as in a long backlog of many of them.
    """
    ids = [imei(number).encode() for number in range(devices)]
    plain = _plain_attributes(kind)
    stamp = b""
    for number in range(n):
        second, device = divmod(number, devices)
        if device == 0:
            stamp = iso_ms(_START + timedelta(seconds=second)).encode()
        device_id, speed = ids[device], _SPEEDS[number % len(_SPEEDS)]
        payload = _PAYLOAD % (
            device_id, stamp, number % 100_000, device % 100_000, number % 360, speed, plain[number % len(plain)]
        )  # fmt: skip
        yield [b"ts", stamp, b"device_id", device_id, b"codec", b"8E", b"payload", payload]


def _plain_attributes(kind: RecordKind) -> list[bytes]:
    """Return what the records have in turn, made beforehand."""
    if kind is RecordKind.USUAL:
        return [_USUAL % speed for speed in _SPEEDS]
    chance = random.Random(_DIFFERENT_DIGITS)  # noqa: S311 - no secret
    return [
        b",".join(b'"%d":%d' % (element, chance.randrange(10 ** chance.randint(3, 5))) for element in _IO_ELEMENTS)
        for _ in range(_DIFFERENT_DIGITS)
    ]
