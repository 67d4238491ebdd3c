from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.positions.history import Sighting
    from telemetry_app.live.wire.cursor import Vector


@dataclass(frozen=True, slots=True)
class Gate:
    """Holds back what a client has seen already though it has yet to pass through this worker.

    A snapshot, and a cursor of another worker, may be ahead of what this worker has read. The gate is taken away
    once the worker has read as far.

    Attributes:
        newest_ms: What the client is given must be newer than this timestamp of its device, in epoch ms.
        until: How far the client has come in each stream; None when it came without a cursor.
        made_at: Loop time at which the client's knowledge was complete, in seconds.
    """

    newest_ms: Mapping[str, int]
    until: Vector | None
    made_at: float

    def passes(self, sighting: Sighting) -> bool:
        """Tell whether a position is new to the client."""
        if self.until is not None and sighting.entry_id <= self.until[sighting.partition]:
            return False
        return sighting.ts_ms > self.newest_ms.get(sighting.device_id, -1)


@dataclass(eq=False, slots=True)
class Subscription:
    """A connection's wish for a topic.

    Attributes:
        connection: Whose it is.
        topic: As the client wrote it.
        event_id: The topic's event.
        seq: Number of the last position that is covered by what the client was given first.
        gate: What has to be held back for now.
        owed: Devices of which the client has yet to be given what is known; until then their positions are held back
            too, and no frame has a cursor.
        authorize_at: Loop time at which the right is asked again.
    """

    connection: Connection
    topic: str
    event_id: str
    seq: int = 0
    gate: Gate | None = None
    owed: frozenset[str] = frozenset()
    authorize_at: float = field(default=float("inf"))

    @property
    def passes_all(self) -> bool:
        """Whether nothing has to be held back."""
        return self.gate is None and not self.owed

    def passing(self, sightings: Iterable[Sighting]) -> list[Sighting]:
        """Return the positions that are not held back."""
        gate, owed = self.gate, self.owed
        return [s for s in sightings if s.device_id not in owed and (gate is None or gate.passes(s))]

    def add_gate(self, gate: Gate) -> None:
        """Hold back what this gate does as well as what is held back already."""
        if self.gate is not None:
            gate = Gate({**self.gate.newest_ms, **gate.newest_ms}, gate.until, gate.made_at)
        self.gate = gate if gate.newest_ms or gate.until is not None else None
