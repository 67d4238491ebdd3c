from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry_app.live.wire.encoding import Form
from telemetry_app.live.wire.position import is_newer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.positions.history import Sighting
    from telemetry_app.live.wire.cursor import Vector
    from telemetry_app.live.wire.position import Rank


@dataclass(frozen=True, slots=True)
class Gate:
    """Holds back what a client has seen already, though it has not passed through this worker yet.

    A snapshot, or a cursor from another worker, may be ahead of what this worker has read. The gate is removed once
    the worker has read as far.

    Attributes:
        newest: Positions must be newer than this one of their device.
        until: How far the client has come in each stream; None when it came without a cursor.
        made_at: Loop time at which the client's knowledge was complete, in seconds.
    """

    newest: Mapping[str, Rank]
    until: Vector | None
    made_at: float

    def passes(self, sighting: Sighting) -> bool:
        """Tell whether a position is new to the client."""
        if self.until is not None and sighting.entry_id <= self.until[sighting.partition]:
            return False
        return is_newer(sighting.rank, self.newest.get(sighting.device_id))


@dataclass(eq=False, slots=True)
class Subscription:
    """Asks for the positions of a topic on behalf of a connection.

    Attributes:
        connection: The client's.
        topic: As the client wrote it.
        event_id: The topic's event.
        form: How it is sent positions.
        seq: Number of the last position that the client does not need: sent, or covered by what it got first.
        gate: What must be held back for now.
        owed: Devices whose known position has not been sent; until then their positions are held back, and no frame
            has a cursor.
        authorize_at: Loop time at which the right is checked again.
    """

    connection: Connection
    topic: str
    event_id: str
    form: Form = Form.EACH
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
        """Hold back what this gate does, beside what is held back already."""
        if self.gate is not None:
            gate = Gate({**self.gate.newest, **gate.newest}, gate.until, gate.made_at)
        self.gate = gate if gate.newest or gate.until is not None else None
