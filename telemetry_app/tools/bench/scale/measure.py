"""What more workers bring and cost, and what the distribution of one stream costs, all in one run."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from faust_redis.redis.client import connect, execute
from faust_redis.redis.keys import partition_stream
from telemetry_app.tools.bench.feeding import append_all
from telemetry_app.tools.bench.helper import Helper
from telemetry_app.tools.bench.scale.hop import Hop, Hopped
from telemetry_app.tools.bench.scale.sharing import Shared, Sharing
from telemetry_app.tools.embedded.stack import Stack
from telemetry_app.tools.simulation.backlog import bench_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PARTITIONS: Final = 8
#: Long enough that no worker loses anything while all of them are stopped and the records are appended.
_LEASE_TTL_MS: Final = "60000"
#: How often the distributor and the bare loop take their turns; the medians count.
_HOPS: Final = 3
_SOURCE: Final = "hop"


class ScalePlan(NamedTuple):
    """How many records of how many devices, and how many workers share them."""

    records: int
    devices: int
    workers: Sequence[int]


class ScaleResult(msgspec.Struct, frozen=True):
    """Everything measured.

    Attributes:
        records: Of each measurement.
        devices: Number that they are of.
        single: One worker on one stream.
        sharded: The numbers of workers on eight partitions.
        distributed: The same from one stream.
        cpu_growth: Processor time per record of the most workers, to that of the fewest, sharded.
        distributed_us: Processor time per record that workers use more from one stream, for each number of them.
        hop_us: Processor time per record of the distributor by itself.
        bare_hop_us: Processor time per record of a bare loop that reads a stream and appends to the partitions.
        hop_ratio: The distributor's, to the bare loop's.
    """

    records: int
    devices: int
    single: Shared
    sharded: list[Shared]
    distributed: list[Shared]
    cpu_growth: float
    distributed_us: list[float]
    hop_us: float
    bare_hop_us: float
    hop_ratio: float


async def measure(plan: ScalePlan, folder: Path, say: Callable[[str, float], None]) -> ScaleResult:
    """Measure all of it on the same servers.

    Args:
        plan: How much.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or a worker did not start.
        RuntimeError: Too much or too little arrived, or nothing for a minute.
    """
    sharing = Sharing(plan.records, plan.devices, workers=1, partitions=1, distributed=False)
    async with Stack(folder, {"ROLES": "write", "LOG_LEVEL": "warning", "LEASE_TTL_MS": _LEASE_TTL_MS}) as stack:
        single = await sharing.measure(stack, say)
        pairs = [
            [
                await sharing._replace(workers=workers, partitions=PARTITIONS, distributed=one).measure(stack, say)
                for one in (False, True)
            ]
            for workers in plan.workers
        ]
        bare_hop_us, hop_us = await _hops_us(plan, stack.valkey.url, say)
    sharded, distributed = (list(each) for each in zip(*pairs, strict=True))
    return ScaleResult(
        records=plan.records,
        devices=plan.devices,
        single=single,
        sharded=sharded,
        distributed=distributed,
        cpu_growth=round(sharded[-1].cpu_us_per_record / sharded[0].cpu_us_per_record, 2),
        distributed_us=[
            round(one.cpu_us_per_record - without.cpu_us_per_record, 2)
            for without, one in zip(sharded, distributed, strict=True)
        ],
        hop_us=hop_us,
        bare_hop_us=bare_hop_us,
        hop_ratio=round(hop_us / bare_hop_us, 2),
    )


async def _hops_us(plan: ScalePlan, url: str, say: Callable[[str, float], None]) -> tuple[float, float]:
    """Return the processor time per record of the bare loop and of the distributor, which take turns."""
    redis = connect(url)
    entries = ((_SOURCE, fields) for fields in bench_records(plan.records, plan.devices))
    await append_all(redis, entries, plan.records, lambda what, done: say(f"hop: {what}", done))
    used_us: dict[bool, list[float]] = {True: [], False: []}
    async with Helper("telemetry_app.tools.bench.scale.hop") as helper:
        for turn in range(2 * _HOPS):
            say("hop: moving", turn / (2 * _HOPS))
            bare = turn % 2 == 0
            targets = [partition_stream(f"{_SOURCE}:{turn}", number, PARTITIONS) for number in range(PARTITIONS)]
            hopped = await helper.ask(Hop(url, _SOURCE, targets, plan.records, bare), Hopped)
            used_us[bare].append(hopped.cpu_us_per_record)
            await execute(redis, "DEL", *targets)
    await execute(redis, "FLUSHALL")
    await redis.aclose()
    return round(median(used_us[True]), 2), round(median(used_us[False]), 2)
