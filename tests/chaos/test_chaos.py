"""Whatever happens to workers, Redis, the database and the network, all is stored, counted and refused once."""

import asyncio

import pytest

from tests.chaos.run import run
from tests.chaos.schedule import is_distributed, kinds, plan

SECONDS = 30
#: In these every kind of fault comes: in those that a producer shards, and in those that the workers distribute.
SEEDS = (388, 1012, 379, 1099)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", [SEEDS[:2], SEEDS[2:]], ids=["sharded", "distributed"])
async def test_a_short_run_is_exact(seeds: tuple[int, int]) -> None:
    """After all faults of a schedule everything equals what the streams hold, and every worker has ended well."""
    # Most of a run is waiting; each has servers and workers of its own.
    reports = await asyncio.gather(*(run(seed, SECONDS) for seed in seeds))
    assert [report.differences for report in reports] == [[], []]


def test_a_seed_is_a_schedule() -> None:
    """The same seed and length give the same faults at the same times, another seed gives others."""
    assert plan(7, 60) == plan(7, 60)
    assert plan(7, 60) != plan(8, 60)


@pytest.mark.parametrize("distributed", [False, True])
def test_every_kind_of_fault_comes(*, distributed: bool) -> None:
    """In the short runs each kind of fault comes, and sometimes two at once."""
    seeds = [seed for seed in SEEDS if is_distributed(seed) is distributed]
    steps = [step for seed in seeds for step in plan(seed, SECONDS)]
    assert {fault.kind for step in steps for fault in step.faults} == set(kinds(seeds[0]))
    assert {len(step.faults) for step in steps} == {1, 2}
