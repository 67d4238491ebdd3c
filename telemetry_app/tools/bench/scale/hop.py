"""What distributing a stream costs: the distributor alone, and a bare loop with nothing that would make it safe.

Each in this process, which does nothing else: what a worker does beside it, and how full the reads of others are, does
not count.
"""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec
from typing import Any, Final

import hiredis
import mode.loop
import msgspec

from faust_redis.distribution.distributor import Distributor
from faust_redis.observer import NullObserver
from faust_redis.options import RedisOptions
from faust_redis.redis.keys import partition_of
from telemetry_app.records.sender import sender_of
from telemetry_app.tools.bench.feeding import BATCH
from telemetry_app.tools.bench.helper import serve
from telemetry_app.tools.bench.references.bare import BlockingRedis

#: A distributor that takes longer has lost its Redis.
_TIMEOUT_S: Final = 600.0


class Hop(msgspec.Struct, frozen=True, tag=True):
    """Move the entries of a stream to others, which are empty.

    Attributes:
        redis_url: Where.
        source: Key of the stream.
        targets: Keys of the others.
        records: How many entries it has.
        bare: By the bare loop, else by the distributor.
    """

    redis_url: str
    source: str
    targets: list[str]
    records: int
    bare: bool


class Hopped(msgspec.Struct, frozen=True):
    """How much of this process' processor time that took for each entry."""

    cpu_us_per_record: float


class _Counted(NullObserver):
    """Tells when all is distributed."""

    def __init__(self, records: int) -> None:
        self._left = records
        self.done = asyncio.Event()

    def distributed(self, entries: int) -> None:
        self._left -= entries
        if self._left <= 0:
            self.done.set()


def hop(order: Hop) -> Hopped:
    """Do what was ordered.

    Raises:
        RuntimeError: Not every entry has arrived.
    """
    used_before_s = time.process_time()
    if order.bare:
        _move(order)
    else:
        asyncio.run(_distribute(order))
    used_s = time.process_time() - used_before_s
    arrived = BlockingRedis(order.redis_url).ask(*(_command("XLEN", target) for target in order.targets))
    if sum(arrived) != order.records:
        raise RuntimeError(f"{sum(arrived)} of {order.records} entries arrived")
    return Hopped(used_s / order.records * 1e6)


async def _distribute(order: Hop) -> None:
    observer = _Counted(order.records)
    distributor = Distributor(
        order.redis_url,
        source=order.source,
        partitions=order.targets,
        group=order.targets[0],  # new each time, so it begins at the beginning
        key_of=sender_of,
        options=RedisOptions(observer=observer),
    )
    async with distributor, asyncio.timeout(_TIMEOUT_S):
        await observer.done.wait()


def _move(order: Hop) -> None:
    """Read a page, append all of it in one round trip, and so on."""
    redis, targets = BlockingRedis(order.redis_url), order.targets
    position = b"0-0"
    while True:
        [reply] = redis.ask(_command("XREAD", "COUNT", BATCH, "STREAMS", order.source, position))
        if not reply:
            return
        [(_, page)] = reply
        redis.ask(
            *[
                _command("XADD", targets[partition_of(fields[3], len(targets))], entry_id, *fields)
                for entry_id, fields in page
            ]
        )
        position = page[-1][0]


def _command(*words: Any) -> bytes:
    packed: bytes = hiredis.pack_command(words)
    return packed


if __name__ == "__main__":
    if find_spec("uvloop"):
        mode.loop.use("uvloop")
    serve(Hop, hop)
