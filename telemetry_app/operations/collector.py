"""How often a worker's process looks for garbage, and for how long it holds everything else up.

Importing everything and batches alike make many containers that live for long or die at once, none of them in a cycle;
with Python's own thresholds a sixth of the start and a fifth of a busy worker's time go into looking through them.
"""

import gc
from typing import Any, Final

_AT_START: Final = (200_000, 20, 50)
#: A look takes 0.3 us for each container: 3 ms for as many as this, which is more than batches under way have; every
#: second look goes through twice as many. A client makes 70, which live for as long as it stays.
_RUNNING: Final = (10_000, 0, 50)


def collect_less_often() -> None:
    """Let what is imported from here on cause no collection."""
    gc.set_threshold(*_AT_START)


def spare_what_lives() -> None:
    """Leave what is loaded by now out of every collection, and from now on what has lived through two of them.

    Everybody else waits for each look: 40 ms for one through all that was ever imported, a quarter of a second for one
    through ten thousand clients. What is left out still goes when nothing refers to it any more, as clients that leave
    do; only a cycle that was in use for so long and is then dropped stays. There is no last look either: of 100,000
    objects it finds 100 to be garbage, and takes so long on a busy machine that the worker would lose its leases.
    """
    gc.freeze()
    gc.set_threshold(*_RUNNING)
    if _spare_survivors not in gc.callbacks:
        gc.callbacks.append(_spare_survivors)


def _spare_survivors(phase: str, info: dict[str, Any]) -> None:
    if phase == "stop" and info["generation"]:
        gc.freeze()
