"""Workers without one of their checks, to show that the runs notice: `python -m tests.chaos --without fencing`.

As a command it starts such a worker: `python -m tests.chaos.mutations fencing worker`.
"""

from __future__ import annotations

import re
import runpy
import sys
from typing import Final, NamedTuple

from faust_redis.redis import distribution_scripts, scripts


class _Cut(NamedTuple):
    """What is replaced in the scripts whose names match."""

    scripts: str
    pattern: str
    replacement: str = ""


_LEASE: Final = r"if redis\.call\('GET', KEYS\[1\]\) ~= ARGV\[1\] then return (-1|\{-1\}) end\n"

#: What is taken out, by a name for each.
MUTATIONS: Final = {
    # Whoever held a lease once may commit, write dead letters, make groups, move the distribution on.
    "fencing": _Cut(".*", _LEASE),
    # The same for the commit alone.
    "commit-fencing": _Cut("COMMIT", _LEASE),
    # A former owner extends the lease that its successor holds, and thinks that it is its own.
    "renewal-fencing": _Cut("RENEW", r"if .* then", "do"),
    # A commit may be computed from a state that is not the one stored.
    "versions": _Cut("COMMIT", r"elseif stored ~= ARGV\[at\] then .* end", "end"),
    # A former distributor goes on beside its successor.
    "epochs": _Cut("APPEND", r"if epoch and .* end\n"),
    # What is distributed again is appended again.
    "positions": _Cut("APPEND", r"redis\.call\('HGET', KEYS\[2\], 'position'\) or|and #redis\.call\('XRANGE'.* == 0"),
}


def command(name: str) -> tuple[str, ...]:
    """Return what starts a worker without a check, instead of the operators' command."""
    return sys.executable, "-m", __name__, name, "worker"


def mutate(name: str) -> None:
    """Take a check out of the scripts of this process."""
    cut = MUTATIONS[name]
    done = 0
    for module in (scripts, distribution_scripts):
        for constant, source in vars(module).items():
            if constant.isupper() and isinstance(source, str) and re.fullmatch(cut.scripts, constant):
                changed, times = re.subn(cut.pattern, cut.replacement, source)
                setattr(module, constant, changed)
                done += times
    if not done:
        raise ValueError(f"there is no check of {name} to take out")


if __name__ == "__main__":
    mutate(sys.argv.pop(1))
    runpy.run_module("telemetry_app", run_name="__main__", alter_sys=True)
