"""A client of Directus for the tests that ask it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from telemetry_app.live.rights.directus import Directus
from tests.app.live.directus import faults
from tests.app.live.directus.stand_in import Fault

ADDRESS = "203.0.113.7"
#: For answers that come, however busy the machine is.
TIMEOUT_S = 30.0


def patience_s(fault: Fault) -> float:
    """Return how long to wait for an answer: not long where none comes."""
    return 0.3 if fault is faults.silence else TIMEOUT_S


@contextlib.asynccontextmanager
async def client_of(
    url: str, *, timeout_s: float = TIMEOUT_S, cache_s: float = 60.0, allow_public: bool = False
) -> AsyncIterator[Directus]:
    """Start a client for the time of the block."""
    directus = Directus(url, timeout_s=timeout_s, cache_s=cache_s, allow_public=allow_public)
    async with directus:
        yield directus


def any_id(event_id: str) -> bool:  # noqa: ARG001 - whatever it is
    """Take any id for one that an event can have."""
    return True
