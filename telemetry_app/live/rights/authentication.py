"""Who a client is: the user of the session that its cookie names."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field

from telemetry_app.database.outage import Outage
from telemetry_app.live.ports import Authentication
from telemetry_app.live.rights.directus import Unavailable

if TYPE_CHECKING:
    from telemetry_app.live.ports import Credentials, LiveObserver
    from telemetry_app.live.rights.directus import Directus

logger = logging.getLogger(__name__)

_PATH: Final = "/users/me?fields=id"
#: What the public may ask, and nobody whose session is over.
_PUBLIC_PATH: Final = "/server/info"
_UNAUTHORIZED: Final = Authentication("unauthorized")
_PUBLIC: Final = Authentication("ok")
#: 401: no session, or one that is over. 403: a token whose signature is wrong.
_REFUSED: Final = frozenset({401, 403})


class _User(BaseModel):
    model_config = ConfigDict(strict=True)
    id: str = Field(min_length=1, max_length=255)


class _Me(BaseModel):
    # A role without rights on users still sees the id of its own.
    model_config = ConfigDict(strict=True)
    data: _User


class _Anything(BaseModel):
    pass


class DirectusAuthenticator:
    """Knows sessions by asking Directus. Never raises: a failure is a result."""

    def __init__(self, directus: Directus, observer: LiveObserver) -> None:
        self._directus = directus
        self._observer = observer
        self._misplaced = Outage(logger, "Directus")

    async def authenticate(self, credentials: Credentials) -> Authentication:
        """Tell whose session a client shows; without a cookie nobody is asked.

        Where the public is let in, a client without a session is anybody. One whose session is over is not: it would
        be shown less than before, and not be told why.
        """
        started_at = time.perf_counter()
        authentication = await self._judge(credentials)
        self._observer.authentication(authentication.result, time.perf_counter() - started_at)
        return authentication

    async def _judge(self, credentials: Credentials) -> Authentication:
        cookie, forwarded_for = credentials
        if not self._directus.serves(cookie):
            return _UNAUTHORIZED
        if cookie is None:
            return _PUBLIC
        answer = await self._directus.ask(_PATH, _Me.model_validate_json, cookie=cookie, forwarded_for=forwarded_for)
        if isinstance(answer, Unavailable):
            return Authentication("error", retry_after_s=answer.retry_after_s)
        if answer.content is not None:
            self._misplaced.over()
            return Authentication("ok", answer.content.data.id)
        if answer.status not in _REFUSED:
            self._misplaced.failed("it has no /users/me: set DIRECTUS_BASE_URL to the root of Directus")
            return Authentication("error")
        return await self._judge_public(cookie, forwarded_for) if self._directus.allow_public else _UNAUTHORIZED

    async def _judge_public(self, cookie: str, forwarded_for: str) -> Authentication:
        """Tell cookies that Directus takes for the public's from those of a session that is over."""
        answer = await self._directus.ask(
            _PUBLIC_PATH, _Anything.model_validate_json, cookie=cookie, forwarded_for=forwarded_for
        )
        if isinstance(answer, Unavailable):
            return Authentication("error", retry_after_s=answer.retry_after_s)
        return _UNAUTHORIZED if answer.status in _REFUSED else _PUBLIC
