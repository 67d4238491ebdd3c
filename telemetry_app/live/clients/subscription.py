from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.encoding import Form
from telemetry_app.live.wire.position import is_newer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.positions.history import Sighting
    from telemetry_app.live.wire.cursor import Vector
    from telemetry_app.live.wire.position import Rank


class Standing(Protocol):
    """Where a subscription stands together with others; see `Lane`."""

    def __len__(self) -> int:
        """Return how many stand there."""

    def leave(self, subscription: Subscription) -> None:
        """Let a subscription go."""

    def disturb(self, subscription: Subscription) -> None:
        """Look at a subscription again at its next turn."""


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
        turn: Number of the last position that had passed at its last turn, or when it was entered.
        lane: Where it stands; None = it is not entered. While it is steady there, `seq` and `turn` are the lane's.
        gate: What must be held back for now.
        owed: Devices whose known position has not been sent; until then their positions are held back, and no frame
            has a cursor.
        told: Devices of the event as the client knows it: where they are has been sent, as far as they have been seen.
        seen: Devices that may be on the client's map: also those whose live positions it was sent before it was told.
        mark: What says so in cursors; before anything was told, that of the client's own cursor.
        hidden: Devices whose shown position was found to be faulty, and that have no other.
        partial: Whether the client waits for what the database could not be asked; until then no frame has a cursor.
        named: Devices of the event when it was asked what the client may know of their entries.
        authorize_at: Loop time at which the right is checked again.
    """

    connection: Connection
    topic: str
    event_id: str
    form: Form = Form.EACH
    seq: int = 0
    turn: int = 0
    lane: Standing | None = None
    gate: Gate | None = None
    owed: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()
    seen: frozenset[str] = frozenset()
    mark: str = ""
    hidden: frozenset[str] = frozenset()
    partial: bool = False
    named: frozenset[str] = frozenset()
    authorize_at: float = field(default=float("inf"))

    @property
    def stands(self) -> bool:
        """Whether it is entered."""
        return self.lane is not None

    @property
    def is_settled(self) -> bool:
        """Whether it takes whatever passes until it is disturbed."""
        return self.is_plain and self.connection.keeps_up

    @property
    def is_plain(self) -> bool:
        """Whether nothing has to be held back, and its frames have cursors."""
        return self.gate is None and not self.owed and not self.partial

    @property
    def cursor_mark(self) -> str | None:
        """What the cursors of its frames end with; None = they are empty, since there is none to go on from."""
        return None if self.owed or self.partial else self.mark

    def lacks(self, devices: frozenset[str]) -> bool:
        """Tell whether the client knows anything else than where these devices are."""
        return self.told is not devices or self.seen is not devices or bool(self.hidden) or self.partial

    def disturb(self) -> None:
        """Have it looked at again, at its next turn too: before anything changes that decides what it is sent."""
        if self.lane is not None:
            self.lane.disturb(self)

    def tell(self, devices: frozenset[str]) -> None:
        """Note that the client knows these devices of the event."""
        self.disturb()
        self.told = devices
        self.mark = cursor.mark_of(devices)

    def lose(self, gone: frozenset[str], told: frozenset[str]) -> None:
        """Note that devices are not on the client's map any more, and which of the event's it still knows."""
        self.seen -= gone
        self.hidden -= gone
        self.tell(told)

    def hide(self, device_id: str) -> None:
        """Note that the client has to be told that a device has no place."""
        self.disturb()
        self.hidden |= {device_id}

    def passing(self, sightings: Iterable[Sighting]) -> list[Sighting]:
        """Return the positions that are not held back."""
        gate, owed = self.gate, self.owed
        return [s for s in sightings if s.device_id not in owed and (gate is None or gate.passes(s))]

    def add_gate(self, gate: Gate) -> None:
        """Hold back what this gate does, beside what is held back already."""
        self.disturb()
        if self.gate is not None:
            gate = Gate({**self.gate.newest, **gate.newest}, gate.until, gate.made_at)
        self.gate = gate if gate.newest or gate.until is not None else None
