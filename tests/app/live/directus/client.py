"""A client of Directus for the tests that ask it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from pydantic import BaseModel

from telemetry_app.live.rights.directus import Answer, Directus, Unavailable
from tests.app.live.directus import faults
from tests.app.live.directus.stand_in import DirectusStandIn, Fault

ADDRESS = "203.0.113.7"
#: For answers that come, however busy the machine is.
TIMEOUT_S = 30.0
_PATH = "/users/me?fields=id"


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


class Me(BaseModel):
    """What Directus answers to who asks about itself."""

    data: dict[str, str]


async def ask(client: Directus, cookie: str, *, path: str = _PATH, address: str = ADDRESS) -> Answer[Me] | Unavailable:
    return await client.ask(path, Me.model_validate_json, cookie=cookie, forwarded_for=address)


async def session(stand_in: DirectusStandIn) -> str:
    return await stand_in.login(await stand_in.add_user())
