"""What a client may see: the events that Directus shows to its session."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic import BaseModel, StrictInt, StrictStr

from telemetry_app.live.ports import Authorization
from telemetry_app.live.rights.directus import Answer, Unavailable, can_be_sent
from telemetry_app.live.rights.tolerant import read_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from telemetry_app.live.ports import Credentials, LiveObserver
    from telemetry_app.live.rights.directus import Directus

#: Directus' own limit for texts as primary keys.
MAX_ID_CHARS: Final = 255
#: Most events listed for one session: a page with more would need a search, not a longer list.
MAX_EVENTS: Final = 200
_NAMED: Final = f"/items/events?fields=id,name&limit={MAX_EVENTS}&sort=name"
_UNNAMED: Final = f"/items/events?fields=id&limit={MAX_EVENTS}"
#: Names have up to 255 characters of up to four bytes.
_MAX_LIST_BYTES: Final = 512 * 1024
_FORBIDDEN: Final = 403
_RESULTS: Final[Mapping[int, Authorization]] = {
    401: Authorization("unauthorized"),
    _FORBIDDEN: Authorization("forbidden"),
    404: Authorization("not-found"),
}


class _EventId(BaseModel):
    id: StrictStr | StrictInt


class _Event(BaseModel):
    data: _EventId


class DirectusAuthorizer:
    """Knows rights by asking Directus. Never raises: a failure is a result.

    Args:
        directus: What is asked.
        observer: Told of each result.
        can_be_an_event: Whether an event can have an id; Directus is not asked about others.
    """

    def __init__(self, directus: Directus, observer: LiveObserver, can_be_an_event: Callable[[str], bool]) -> None:
        self._directus = directus
        self._observer = observer
        self._can_be_an_event = can_be_an_event

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:
        """Tell whether a session may see an event.

        Directus says `forbidden` of missing events too. It is not asked about ids that no event can have.

        Args:
            event_id: Taken from the client unchecked.
            credentials: What the client shows.
        """
        started_at = time.perf_counter()
        authorization = await self._judge(event_id, credentials)
        self._observer.authorization(authorization.result, time.perf_counter() - started_at)
        return authorization

    async def visible_events(self, credentials: Credentials) -> list[dict[str, Any]] | None:
        """Return up to 200 events that a session may see, each with `id` and, if the session may see it, `name`.

        The list is empty when Directus refuses; None means that it could not be asked.
        """
        cookie, forwarded_for = credentials
        if not self._directus.serves(cookie):
            return []
        answer = await self._list(_NAMED, cookie, forwarded_for)
        if isinstance(answer, Answer) and answer.status == _FORBIDDEN:
            # Directus refuses the whole question when it refuses one field.
            answer = await self._list(_UNNAMED, cookie, forwarded_for)
        if isinstance(answer, Unavailable):
            return None
        return answer.content or []

    async def _judge(self, event_id: str, credentials: Credentials) -> Authorization:
        cookie, forwarded_for = credentials
        if not self._directus.serves(cookie):
            return _RESULTS[401]
        if not can_be_an_id(event_id) or not self._can_be_an_event(event_id):
            return _RESULTS[404]
        path = f"/items/events/{quote(event_id, safe='')}?fields=id"
        answer = await self._directus.ask(path, _Event.model_validate_json, cookie=cookie, forwarded_for=forwarded_for)
        if isinstance(answer, Unavailable):
            return Authorization("error", answer.retry_after_s)
        if answer.content is None:
            return _RESULTS[answer.status]
        # Directus takes several spellings for one event, but positions are published under one: `7` and not `007`.
        return Authorization("ok") if str(answer.content.data.id) == event_id else _RESULTS[404]

    async def _list(
        self, path: str, cookie: str | None, forwarded_for: str
    ) -> Answer[list[dict[str, Any]]] | Unavailable:
        return await self._directus.ask(
            path, _events, cookie=cookie, forwarded_for=forwarded_for, max_bytes=_MAX_LIST_BYTES
        )


def can_be_an_id(event_id: str) -> bool:
    """Tell whether an event can have this id: a text without blanks around it that fits a path segment and a database.

    `.` and `..` stay what they are when percent-encoded, and would be another path.
    """
    fits = len(event_id) <= MAX_ID_CHARS and event_id == event_id.strip()
    return fits and event_id not in {"", ".", ".."} and can_be_sent(event_id)


def shown_events(events: Iterable[object]) -> list[dict[str, Any]]:
    """Return what is told of events, without those that have no id."""
    items = (event for event in islice(events, MAX_EVENTS) if isinstance(event, dict))
    return [_shown(item) for item in items if type(item.get("id")) in {str, int}]


def _events(body: bytes) -> list[dict[str, Any]]:
    return shown_events(read_items(body))


def _shown(event: Mapping[str, Any]) -> dict[str, Any]:
    shown, name = {"id": str(event["id"])}, event.get("name")
    # It is whatever the collection's owner made of the field.
    if isinstance(name, str) and name:
        shown["name"] = name
    return shown
