"""What more workers bring and cost, and what the distribution of one stream costs, all in one run."""

from __future__ import annotations

from functools import partial
from itertools import chain
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
    """How many records of how many devices, how many workers share them, and how often all of it is measured."""

    records: int
    devices: int
    workers: Sequence[int]
    rounds: int


class ScaleResult(msgspec.Struct, frozen=True):
    """Everything measured: of each fact the median of the rounds.

    What the same work costs changes by a tenth from minute to minute, so growth is that within a round.

    Attributes:
        records: Of each measurement.
        devices: Number that they are of.
        rounds: How often each was measured.
        single: One worker on one stream.
        sharded: The numbers of workers on eight partitions.
        distributed: The same from one stream.
        cpu_growth: Processor time per record of the most workers, to that of the fewest, sharded.
        distributed_cpu_growth: The same from one stream.
        distributed_us: Processor time per record that workers use more from one stream, for each number of them.
        hop_us: Processor time per record of the distributor by itself.
        bare_hop_us: Processor time per record of a bare loop that reads a stream and appends to the partitions.
        hop_ratio: The distributor's, to the bare loop's.
    """

    records: int
    devices: int
    rounds: int
    single: Shared
    sharded: list[Shared]
    distributed: list[Shared]
    cpu_growth: float
    distributed_cpu_growth: float
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
    alone = Sharing(plan.records, plan.devices, workers=1, partitions=1, distributed=False)
    sharded = [alone._replace(workers=workers, partitions=PARTITIONS) for workers in plan.workers]
    distributed = [sharing._replace(distributed=True) for sharing in sharded]
    # Those that are compared follow each other.
    in_turn = (alone, *chain(*zip(sharded, distributed, strict=True)))
    measured: dict[Sharing, list[Shared]] = {sharing: [] for sharing in in_turn}
    async with Stack(folder, {"ROLES": "write", "LOG_LEVEL": "warning", "LEASE_TTL_MS": _LEASE_TTL_MS}) as stack:
        for number in range(plan.rounds):
            say_of_round = partial(_say_of_round, say, number)
            for sharing, rounds in measured.items():
                rounds.append(await sharing.measure(stack, say_of_round))
        bare_hop_us, hop_us = await _hops_us(plan, stack.valkey.url, say)
    medians = {sharing: Shared.of(rounds) for sharing, rounds in measured.items()}
    return ScaleResult(
        records=plan.records,
        devices=plan.devices,
        rounds=plan.rounds,
        single=medians[alone],
        sharded=[medians[sharing] for sharing in sharded],
        distributed=[medians[sharing] for sharing in distributed],
        cpu_growth=growth(measured[sharded[0]], measured[sharded[-1]]),
        distributed_cpu_growth=growth(measured[distributed[0]], measured[distributed[-1]]),
        distributed_us=[
            round(medians[one].cpu_us_per_record - medians[without].cpu_us_per_record, 2)
            for without, one in zip(sharded, distributed, strict=True)
        ],
        hop_us=hop_us,
        bare_hop_us=bare_hop_us,
        hop_ratio=round(hop_us / bare_hop_us, 2),
    )


def _say_of_round(say: Callable[[str, float], None], number: int, what: str, done: float) -> None:
    say(f"round {number + 1}: {what}", done)


def growth(fewest: Sequence[Shared], most: Sequence[Shared]) -> float:
    """Return how much more processor time a record takes, by the median of the rounds."""
    return round(median(m.cpu_us_per_record / f.cpu_us_per_record for f, m in zip(fewest, most, strict=True)), 2)


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
