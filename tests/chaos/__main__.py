"""Long runs: `python -m tests.chaos --minutes 30 [--seed 7]`, or `make chaos MINUTES=30 [SEED=7]`."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from typing import Final

from tests.chaos.mutations import MUTATIONS
from tests.chaos.run import run

#: Most of one round. Each begins with empty servers, so that a failure is found soon and repeated quickly.
ROUND_S: Final = 120.0


def main() -> int:
    """Run round after round until the time is over or one fails; return 1 when one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="of the first round; the next ones have the numbers after it")
    parser.add_argument("--without", choices=MUTATIONS, help="take a check out of the workers: the runs should fail")
    chosen = parser.parse_args()
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    total, left_s = 0, chosen.minutes * 60
    while left_s > 0:
        seconds = min(left_s, ROUND_S)
        begun_s = time.monotonic()
        report = asyncio.run(run(seed, seconds, without=chosen.without))
        print(report, flush=True)  # noqa: T201 - a command
        total += report.entries
        if report.differences:
            without = f" --without {chosen.without}" if chosen.without else ""
            print(f"to repeat it: python -m tests.chaos --minutes {seconds / 60:g} --seed {seed}{without}")  # noqa: T201 - the same
            return 1
        left_s -= max(seconds, time.monotonic() - begun_s)
        seed += 1
    print(f"{total} records, no difference")  # noqa: T201 - the same
    return 0


if __name__ == "__main__":
    sys.exit(main())
