"""What the tests of questions share: a client of Directus, and an observer that remembers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from telemetry_app.live.rights.directus import Directus

ADDRESS = "203.0.113.7"
TIMEOUT_S = 5.0


class Observed:
    """Remembers what the questions told."""

    def __init__(self) -> None:
        self.auths: list[str] = []
        self.authzs: list[str] = []
        self.snapshots: list[float] = []
        self.snapshot_failures = 0
        self.retries: list[str] = []

    def auth(self, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.auths.append(result)

    def authz(self, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.authzs.append(result)

    def snapshot(self, seconds: float) -> None:
        self.snapshots.append(seconds)

    def snapshot_failed(self) -> None:
        self.snapshot_failures += 1

    def retried(self, operation: str) -> None:
        self.retries.append(operation)


@contextlib.asynccontextmanager
async def client_of(url: str, *, timeout_s: float = TIMEOUT_S, cache_s: float = 60.0) -> AsyncIterator[Directus]:
    """Start a client for the time of the block."""
    directus = Directus(url, timeout_s=timeout_s, cache_s=cache_s)
    async with directus:
        yield directus
