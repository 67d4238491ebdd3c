"""How often a worker's process looks for garbage.

Importing everything and batches alike make many containers that live for long or die at once, none of them in a cycle;
with Python's own thresholds a sixth of the start and a fifth of a busy worker's time go into looking through them.
"""

import gc
from typing import Final

_AT_START: Final = (200_000, 20, 50)
_RUNNING: Final = (100_000, 20, 50)


def collect_less_often() -> None:
    """Let what is imported from here on cause no collection."""
    gc.set_threshold(*_AT_START)


def spare_what_is_loaded() -> None:
    """Leave what is loaded by now out of every collection, and collect less often than Python would.

    On the live side what waits for stalled clients makes containers too, and everybody else waits 40 ms for each look
    through all that was ever imported. There is no last look either: of 100,000 objects it finds 100 to be garbage, and
    takes so long on a busy machine that the worker would lose its leases.
    """
    gc.freeze()
    gc.set_threshold(*_RUNNING)
