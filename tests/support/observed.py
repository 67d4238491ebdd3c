"""Observers that remember what they were told, one for each protocol of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal


class TransportObserved:
    """Remembers what the transport told."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.owned: int | None = None
        self.stands_by: bool | None = None
        self.paused = 0
        self.unreadable = 0
        self.lags: list[int | None] = []
        self.moves: list[int] = []
        self.backlogs: list[tuple[int | None, float]] = []
        self.ages: list[float | None] = []
        self.sizes: dict[str, int] = {}

    def read(self, result: str) -> None:
        self.reads[result] += 1

    def delivered(self, entries: int) -> None:
        self.total["delivered"] += entries

    def redelivered(self, entries: int) -> None:
        self.total["redelivered"] += entries

    def trimmed(self, entries: int) -> None:
        self.total["trimmed"] += entries

    def acknowledged(self, entries: int) -> None:
        self.total["acknowledged"] += entries

    def distributed(self, entries: int) -> None:
        self.total["distributed"] += entries
        self.moves.append(entries)

    def undistributed(self, entries: int | None, waited_s: float) -> None:
        self.backlogs.append((entries, waited_s))

    def distribution_restarted(self) -> None:
        self.total["restarts"] += 1

    def dead_lettered(self, reason: str, entries: int) -> None:
        self.dead[reason] += entries

    def partitions_owned(self, partitions: int) -> None:
        self.owned = partitions

    def standing_by(self, stands_by: bool) -> None:  # noqa: FBT001 - one fact
        self.stands_by = stands_by

    def partitions_paused(self, partitions: int) -> None:
        self.paused = partitions

    def partitions_unreadable(self, partitions: int) -> None:
        self.unreadable = partitions

    def lag(self, entries: int | None) -> None:
        self.lags.append(entries)

    def oldest_unread(self, seconds: float | None) -> None:
        self.ages.append(seconds)

    def state_size(self, table: str, keys: int) -> None:
        self.sizes[table] = keys

    def evicted(self, table: str, keys: int) -> None:
        self.total[f"evicted {table}"] += keys

    def state_conflict(self) -> None:
        self.total["state conflicts"] += 1

    def retried(self, operation: str) -> None:
        self.retries[operation] += 1


class WriterObserved:
    """Remembers what the writer told."""

    def __init__(self) -> None:
        self.rows = Counter[str]()
        self.faults = Counter[str]()
        self.retries = Counter[str]()
        self.durations: list[float] = []
        self.troubles: list[int] = []

    def undecodable(self, records: int) -> None:
        self.rows["undecodable"] += records

    def inserted(self, rows: int) -> None:
        self.rows["inserted"] += rows

    def duplicates(self, rows: int) -> None:
        self.rows["duplicates"] += rows

    def merged(self, rows: int) -> None:
        self.rows["merged"] += rows

    def faulty(self, rows: Sequence[tuple[str, str]]) -> None:
        self.faults.update(reason for _, reason in rows)

    def failed(self, rows: int) -> None:
        self.rows["failed"] += rows

    def duration(self, seconds: float) -> None:
        self.durations.append(seconds)

    def in_trouble(self, batches: int) -> None:
        self.troubles.append(batches)

    def retried(self, reason: str) -> None:
        self.retries[reason] += 1


class LiveObserved:
    """Remembers what a live side told, or a part of it."""

    def __init__(self) -> None:
        self.gauges: dict[str, int] = {}
        self.counts = Counter[str]()
        self.delays: list[float] = []
        self.authentications: list[str] = []
        self.authorizations: list[str] = []
        self.snapshots: list[float] = []
        self.snapshot_failures = 0
        self.histories = Counter[str]()
        self.retries: list[str] = []

    def connections(self, number: int) -> None:
        self.gauges["connections"] = number

    def subscriptions(self, number: int) -> None:
        self.gauges["subscriptions"] = number

    def frames(self, result: Literal["sent", "conflated"], number: int) -> None:
        self.counts[result] += number

    def orphans(self, positions: int) -> None:
        self.counts["orphans"] += positions

    def late(self, positions: int) -> None:
        self.counts["late"] += positions

    def refused(self, reason: Literal["full", "address", "user", "waiting"]) -> None:
        self.counts[f"refused {reason}"] += 1

    def slow_client(self) -> None:
        self.counts["slow"] += 1

    def delivered(self, seconds: float) -> None:
        self.delays.append(seconds)

    def authentication(self, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.authentications.append(result)

    def authorization(self, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.authorizations.append(result)

    def snapshot(self, seconds: float) -> None:
        self.snapshots.append(seconds)

    def history(self, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.histories[result] += 1

    def snapshot_failed(self) -> None:
        self.snapshot_failures += 1

    def retried(self, operation: str) -> None:
        self.retries.append(operation)
