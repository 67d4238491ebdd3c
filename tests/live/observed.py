"""A receiver of the live side's facts that remembers them."""

from __future__ import annotations

from collections import Counter
from typing import Literal


class Observed:
    """Remembers what a live side told, or a part of it."""

    def __init__(self) -> None:
        self.gauges: dict[str, int] = {}
        self.counts = Counter[str]()
        self.delays: list[float] = []
        self.authentications: list[str] = []
        self.authorizations: list[str] = []
        self.snapshots: list[float] = []
        self.snapshot_failures = 0
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

    def snapshot_failed(self) -> None:
        self.snapshot_failures += 1

    def retried(self, operation: str) -> None:
        self.retries.append(operation)
