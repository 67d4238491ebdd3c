"""Rights as a Directus gives them, asked for as a worker asks."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from telemetry_app.live.ports import Authentication, Authorization, Credentials
from telemetry_app.live.rights.authentication import DirectusAuthenticator
from telemetry_app.live.rights.authorization import DirectusAuthorizer
from telemetry_app.live.rights.directus import Directus
from tests.app.live.directus.client import any_id, client_of
from tests.app.live.directus.stand_in import DirectusServer
from tests.support.observed import LiveObserved

#: Two events that a spectator may see, and one that does not exist.
SEVEN: Final = "77777777-7777-4777-8777-777777777777"
EIGHT: Final = "88888888-8888-4888-8888-888888888888"
MISSING: Final = "11111111-1111-4111-8111-111111111111"
TOPIC_7: Final = f"event:{SEVEN}"
TOPIC_8: Final = f"event:{EIGHT}"


class Spectator:
    """A user of a Directus, and everybody's sessions and rights there; no answer is kept.

    Attributes:
        user_id: The user.
        cookie: The Cookie header of the user's session.
        authentications: How often it was asked who a client is.
        questions: How often it was asked whether an event may be seen, by event.
    """

    def __init__(self, client: Directus, user_id: str, cookie: str) -> None:
        observed = LiveObserved()
        self._authenticator = DirectusAuthenticator(client, observed)
        self._authorizer = DirectusAuthorizer(client, observed, any_id)
        self.user_id = user_id
        self.cookie = cookie
        self.authentications = 0
        self.questions = Counter[str]()

    async def authenticate(self, credentials: Credentials) -> Authentication:
        self.authentications += 1
        return await self._authenticator.authenticate(credentials)

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:
        self.questions[event_id] += 1
        return await self._authorizer.may_see(event_id, credentials)

    async def visible_events(self, credentials: Credentials) -> list[dict[str, Any]] | None:
        return await self._authorizer.visible_events(credentials)


@contextlib.asynccontextmanager
async def spectator_of(
    directus: DirectusServer,
    *,
    events: Collection[str] = (SEVEN, EIGHT),
    url: str | None = None,
    cache_s: float = 0,
    allow_public: bool = False,
) -> AsyncIterator[Spectator]:
    """Make a user who may see these events, and ask at `url`, or where the Directus is, for the time of the block."""
    user_id = await directus.add_user()
    for event_id in events:
        await directus.add_event("Race", event_id)
    await directus.allow(user_id, events)
    cookie = await directus.login(user_id)
    async with client_of(url or directus.url, cache_s=cache_s, allow_public=allow_public) as client:
        yield Spectator(client, user_id, cookie)
