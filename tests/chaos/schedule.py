"""Which faults come when: all of it follows from a seed."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

#: Places for workers; not all of them are always taken.
SLOTS: Final = 4
#: Workers at the beginning.
WORKERS: Final = 3
#: Time from the start of one step to that of the next.
GAP_S: Final = (1.0, 4.0)
#: Share of the steps with two faults at once.
TWO_AT_ONCE: Final = 0.3

#: Every kind of fault, and the longest time that it takes where the schedule decides on that.
KINDS: Final = {
    "kill worker": 1.0,
    "pause worker": 5.0,
    # Long enough that others take over; then a commit arrives that was on its way all the time.
    "strand worker": 6.0,
    # Longer than workers wait for a reply: the commit was sent again, and arrives after what came next.
    "overtake worker": 9.0,
    "restart worker": 0.5,
    "add worker": 0.0,
    "remove worker": 0.0,
    "drop clients": 0.0,
    "stop postgres": 3.0,
    "cut connections": 0.0,
    "stall to server": 3.0,
    "stall to client": 3.0,
    # Longer than workers wait for a reply: what they have given up and sent again arrives late, after what came next.
    "stall some": 9.0,
    "restart redis": 0.5,
    "kill redis": 0.5,
    "fail over": 0.0,
}
#: The same, of the worker that happens to distribute the plain stream.
DISTRIBUTOR_KINDS: Final = {"kill distributor": 1.0, "pause distributor": 5.0, "strand distributor": 6.0}


def is_distributed(seed: int) -> bool:
    """Tell whether in the run of a seed trackers send to one stream, which the workers distribute: where it is odd."""
    return seed % 2 == 1


def kinds(seed: int) -> dict[str, float]:
    """Return the kinds of fault of a seed's run, with the longest time of each."""
    return KINDS | DISTRIBUTOR_KINDS if is_distributed(seed) else KINDS


class Fault(NamedTuple):
    """One thing that goes wrong.

    Attributes:
        kind: One of `KINDS` or `DISTRIBUTOR_KINDS`.
        slot: Which worker, where the kind says "worker".
        lasts_s: How long something stays paused, stalled or down.
    """

    kind: str
    slot: int
    lasts_s: float

    @property
    def target(self) -> str:
        """What it happens to; one target has one fault at a time."""
        if "worker" in self.kind:
            return f"worker {self.slot}"
        if "distributor" in self.kind:
            return "distributor"
        return "postgres" if "postgres" in self.kind else "redis"

    def clashes(self, other: Fault) -> bool:
        """Tell whether both might happen to one target; which worker distributes is not known beforehand."""
        kinds = self.kind + other.kind
        return self.target == other.target or ("distributor" in kinds and "worker" in kinds)


class Step(NamedTuple):
    """Faults that begin together, and when, counted from the start."""

    at_s: float
    faults: tuple[Fault, ...]


class _Plan:
    """Draws faults so that each kind comes before any comes again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._kinds = kinds(seed)
        self._bag: list[str] = []
        self._running = set(range(WORKERS))

    def draw(self, others: list[Fault]) -> Fault | None:
        """Return a fault that clashes with none of these; None when what comes next does."""
        if not self._bag:
            self._bag = sorted(self._kinds)
            self.random.shuffle(self._bag)
        fault = self._fault(self._bag[-1])
        if fault is None:  # nothing to add to, or to take from
            self._bag.pop()
            return None
        if any(map(fault.clashes, others)):
            return None
        self._bag.pop()
        if fault.kind == "add worker":
            self._running.add(fault.slot)
        if fault.kind == "remove worker":
            self._running.discard(fault.slot)
        return fault

    def _fault(self, kind: str) -> Fault | None:
        slots = sorted(self._running)
        if kind == "add worker":
            slots = sorted(set(range(SLOTS)) - self._running)
        if kind == "remove worker" and len(slots) <= 1:
            return None
        if not slots:
            return None
        lasts_s = round(self.random.uniform(0.3, 1.0) * self._kinds[kind], 2)
        return Fault(kind, self.random.choice(slots), lasts_s)


def plan(seed: int, seconds: float) -> list[Step]:
    """Return the steps of a run, the same for the same seed and length."""
    drawing = _Plan(seed)
    steps = []
    at_s = drawing.random.uniform(*GAP_S)
    while at_s < seconds:
        wanted = 2 if drawing.random.random() < TWO_AT_ONCE else 1
        faults: list[Fault] = []
        while len(faults) < wanted:
            fault = drawing.draw(faults)
            if fault is not None:
                faults.append(fault)
            elif faults:
                break
        steps.append(Step(round(at_s, 2), tuple(faults)))
        at_s += drawing.random.uniform(*GAP_S)
    return steps
