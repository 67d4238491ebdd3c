"""What `telemetry bench race` tells."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Self

import msgspec

from telemetry_app.tools.bench.latency import Compared
from telemetry_app.tools.bench.race.spectators import Taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_app.tools.bench.race.spectators import Watched


class Way(enum.StrEnum):
    """How positions are sent.

    EACH: A frame for each position, each read of the stream sent at once: as if there were no share to keep.
    PLAIN: A frame for each position, gathered as the share asks for.
    BATCH: One frame for each round.
    DEFLATE: The same, compressed.
    """

    EACH = "a write for each read"
    PLAIN = "plain"
    BATCH = "batch"
    DEFLATE = "batch and deflate"

    @property
    def asks_batch(self) -> bool:
        """Whether clients ask for one frame a round."""
        return self in {Way.BATCH, Way.DEFLATE}

    @property
    def offers_deflate(self) -> bool:
        """Whether clients offer compression."""
        return self is Way.DEFLATE


class Durable(msgspec.Struct, frozen=True):
    """From just before XADD was sent until the row was committed, in ms."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, taken_ms: list[float]) -> Self:
        """Return it of all rows."""
        taken_ms.sort()
        return cls(*(round(taken_ms[int(share * (len(taken_ms) - 1))], 1) for share in (0.5, 0.99)))


class Cost(msgspec.Struct, frozen=True):
    """What the worker's processor paid, all of it.

    Attributes:
        cpu: Share of one processor.
        cpu_us_per_delivery: For each position delivered to a spectator.
        cpu_us_per_write: For each read of a spectator's socket, which is a write of the worker, or seldom several.
        bare_sends_per_write: The same in sends of a bare loop to as many sockets, with as many bytes.
        bytes_per_position: On the sockets, for each position delivered.
    """

    cpu: float
    cpu_us_per_delivery: float
    cpu_us_per_write: float
    bare_sends_per_write: float
    bytes_per_position: float

    @classmethod
    def of(cls, used_s: float, lasted_s: float, watched: Watched, us_per_send: float) -> Self:
        """Return it of a race, and of sends that were measured beside it."""
        return cls(
            cpu=round(used_s / lasted_s, 3),
            cpu_us_per_delivery=_per(used_s * 1e6, watched.delivered, 3),
            cpu_us_per_write=_per(used_s * 1e6, watched.reads, 2),
            bare_sends_per_write=_per(used_s * 1e6 / us_per_send, watched.reads, 2) if us_per_send else 0.0,
            bytes_per_position=_per(watched.wire_bytes, watched.delivered, 1),
        )


class Crowd(msgspec.Struct, frozen=True):
    """A race with so many spectators.

    Attributes:
        roles: Of the worker.
        way: How positions were sent.
        spectators: All subscribed to the one event.
        records: Appended.
        expected: Positions due: one for each record and spectator.
        delivered: Positions that came.
        conflated: Positions the worker left out for spectators that were behind.
        lost: Spectators whose connections the worker closed.
        taken: From append to socket.
        durable: From append to commit; None without a write side.
        cost: Of the worker.
        kb_per_connection: What the worker's memory grew by for each spectator that was subscribed and idle.
        connecting_wait_ms: The most processor time that the worker took until it told its health, while all connected.
        racing_wait_ms: The same in the first seconds of the race.
        client_cpu: Share of one processor that the spectators used.
    """

    roles: str
    way: Way
    spectators: int
    records: int
    expected: int
    delivered: int
    conflated: int
    lost: int
    taken: Taken
    durable: Durable | None
    cost: Cost
    kb_per_connection: float
    connecting_wait_ms: float
    racing_wait_ms: float
    client_cpu: float


class Goal(msgspec.Struct, frozen=True):
    """Something that was to be reached.

    Attributes:
        what: In words, with its unit.
        measured: Its value.
        at_most: What it may be.
        reached: Whether it is.
    """

    what: str
    measured: float
    at_most: float
    reached: bool


class RaceResult(msgspec.Struct, frozen=True):
    """Everything measured.

    Attributes:
        devices: Trackers.
        hz: Records of each per second.
        beside_bare_path: A spectator among few, and the shortest way from the stream to a socket.
        crowds: The races.
        goals: What was to be reached, as far as it was measured.
    """

    devices: int
    hz: float
    beside_bare_path: Compared
    crowds: list[Crowd]
    goals: list[Goal]


def goals(crowds: Sequence[Crowd], compared: Compared) -> list[Goal]:
    """Return what was to be reached and what was, of whatever was measured."""
    found = [
        _goal("10 spectators: p50, times the bare path's", compared.p50_ratio, 3),
        _goal("10 spectators: p99, times the bare path's", compared.p99_ratio, 5),
    ]
    for crowd in crowds:
        name = f"{crowd.roles}, {crowd.spectators:,} spectators, {crowd.way}"
        if crowd.way is Way.EACH:
            continue
        if at_most := _MOST_CPU.get((crowd.roles, crowd.spectators)):
            found.append(_goal(f"{name}: % of a processor", crowd.cost.cpu * 100, at_most))
        if crowd.spectators:
            found.append(_goal(f"{name}: positions missing", crowd.expected - crowd.delivered, 0))
        if crowd.durable:
            found.append(_goal(f"{name}: stored, p99 in ms", crowd.durable.p99_ms, _LATEST_STORED_MS))
        if crowd.spectators in _MOST_BYTES:
            found.append(_goal(f"{name}: p99 in ms", crowd.taken.p99_ms, 300))
            found.append(_goal(f"{name}: KB for each idle connection", crowd.kb_per_connection, 20))
            found.append(_goal(f"{name}: longest wait of others in ms", crowd.racing_wait_ms, 10))
            if crowd.way is Way.DEFLATE:
                most = _MOST_BYTES[crowd.spectators]
                found.append(_goal(f"{name}: bytes for each position", crowd.cost.bytes_per_position, most))
    return [*found, *_flat(crowds)]


#: Share of a processor, by roles and number of spectators. None for a few: that positions leave at once, each by
#: itself, is what they are asked for.
_MOST_CPU = {("write", 0): 5, ("live", 0): 4, ("write,live", 1000): 20, ("write,live", 10_000): 40}
_MOST_BYTES = {1000: 65, 10_000: 35}
#: Early enough for anybody, and what a spectator costs is not taken from it.
_LATEST_STORED_MS = 100


def _flat(crowds: Sequence[Crowd]) -> list[Goal]:
    """Return what a delivery to a large crowd costs, times what it costs to a tenth of it."""
    cost = {(crowd.way, crowd.spectators): crowd.cost.cpu_us_per_delivery for crowd in crowds}
    return [
        _goal(f"{way}: a delivery to 10,000 spectators, times one to 1,000", large / small, 1.15)
        for way in Way
        if (large := cost.get((way, 10_000))) and (small := cost.get((way, 1000)))
    ]


def _goal(what: str, measured: float, at_most: float) -> Goal:
    return Goal(what, round(measured, 2), at_most, measured <= at_most)


def _per(amount: float, number: int, digits: int) -> float:
    """Return the amount for each of them; 0 when there are none."""
    return round(amount / number, digits) if number else 0.0
