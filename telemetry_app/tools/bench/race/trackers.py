"""The trackers of `telemetry bench race`, in one process: each appends a record at its own moment, again and again."""

from __future__ import annotations

import contextlib
import random
import select
import time
from typing import Final

import msgspec

from telemetry_app.tools.bench.entries import Clock, Entries, RedisSocket
from telemetry_app.tools.bench.helper import serve
from telemetry_app.tools.simulation.record import iso_ms

#: The same moments in every run.
_SEED: Final = 7


class Drive(msgspec.Struct, frozen=True):
    """Append the records of some trackers, one by one.

    Attributes:
        redis_url: Where the stream is.
        stream: Its key.
        devices: Number of trackers.
        hz: Records of each per second.
        rounds: Records of each.
    """

    redis_url: str
    stream: str
    devices: int
    hz: float
    rounds: int


class Driven(msgspec.Struct, frozen=True):
    """What was appended; the timestamps of the records are a millisecond apart.

    Attributes:
        first_ts_ms: Timestamp of the first record, in epoch ms.
        begun_ns: When this began, by the system's monotonic clock.
        begun_wall_ns: The same, in ns since the epoch.
        sent_us: When each record was sent, in us since then.
        late_us: By how much the latest one was later than it should be.
    """

    first_ts_ms: int
    begun_ns: int
    begun_wall_ns: int
    sent_us: list[int]
    late_us: int


def carry_out(order: Drive) -> Driven:
    """Append; see `Drive`."""
    # Newer than what came before of these devices: timestamps of a drive grow slower than its time passes.
    clock, chance = Clock(), random.Random(_SEED)  # noqa: S311 - no secret
    moments_s = sorted(chance.random() / order.hz for _ in range(order.devices))
    times = [clock.tick()[0] for _ in range(order.devices * order.rounds)]
    entries = Entries(order.stream, order.devices)
    commands = [entries.at(number, iso_ms(ts).encode()) for number, ts in enumerate(times)]
    due_us = [round((moment_s + number / order.hz) * 1e6) for number in range(order.rounds) for moment_s in moments_s]
    with contextlib.closing(RedisSocket(order.redis_url)) as redis:
        begun_ns, begun_wall_ns = time.monotonic_ns(), time.time_ns()
        sent_us = _send_in_time(redis, commands, due_us, begun_ns)
    late_us = max(sent - due for sent, due in zip(sent_us, due_us, strict=True))
    return Driven(round(times[0].timestamp() * 1000), begun_ns, begun_wall_ns, sent_us, late_us)


def _send_in_time(redis: RedisSocket, commands: list[bytes], due_us: list[int], begun_ns: int) -> list[int]:
    """Send each command when it is due; return when that was."""
    sent_us: list[int] = []
    for command, due in zip(commands, due_us, strict=True):
        while (wait_us := due - _since_us(begun_ns)) > 0:
            _drop_answers(redis, wait_us / 1e6)
        sent_us.append(_since_us(begun_ns))
        redis.send(command)
        _drop_answers(redis, 0)
    return sent_us


def _since_us(begun_ns: int) -> int:
    return (time.monotonic_ns() - begun_ns) // 1000


def _drop_answers(redis: RedisSocket, wait_s: float) -> None:
    if select.select([redis], [], [], wait_s)[0]:
        redis.drop_answers()


if __name__ == "__main__":
    serve(Drive, carry_out)
