"""What a client is told of an event besides where its devices are: as much as Directus shows to its session."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

import msgspec

from telemetry_app.live.rights.courses import MAX_COURSE_BYTES, ShownCourse, shown_course
from telemetry_app.live.rights.directus import Answer, Unavailable
from telemetry_app.live.rights.entries import MAX_ENTRIES, Shown, shown_entries
from telemetry_app.live.rights.left_out import LeftOut
from telemetry_app.live.rights.tolerant import read_items

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telemetry_app.live.ports import Credentials
    from telemetry_app.live.rights.directus import Directus
    from telemetry_app.live.wire.protocol import EntryFields

#: About 200 for each of the most entries.
_MAX_BYTES: Final = 4 * 1024 * 1024
_FORBIDDEN: Final = 403

T = TypeVar("T")


class _Event(msgspec.Struct):
    data: dict[str, msgspec.Raw]


class DirectusDetails:
    """Knows entries and courses by asking Directus. Never raises: what cannot be had is left out.

    Args:
        directus: Asked with the client's own session.
        entry_fields: Fields of `entries` that are shown; none = Directus is not asked.
        course_field: Field of `events` that holds the course; None = the same.
    """

    def __init__(self, directus: Directus, entry_fields: Sequence[str], course_field: str | None) -> None:
        self._directus = directus
        self._entry_fields = entry_fields
        self._course_field = course_field
        self._left_out = LeftOut()

    async def entries(self, event_id: str, credentials: Credentials, edition: int) -> Mapping[str, EntryFields] | None:
        """Return the entries that a session may see, by their ids, each with the fields that it may see.

        That is one question, or three where there is a field that the session may not read or the collection lacks.
        Answers that were given for another edition are not used.
        """
        fields = self._entry_fields
        if not fields or not self._directus.serves(credentials.cookie):
            return {}
        ask = partial(self._ask, event_id, credentials, edition)
        answer = await ask(partial(_shown, fields), ("id", *fields))
        if isinstance(answer, Answer) and answer.status == _FORBIDDEN:
            # Directus refuses the whole question for one field, but shows all that may be read when asked for `*`.
            sample = await ask(_names, ("*",), limit=1)
            if isinstance(sample, Unavailable):
                return None
            readable = [name for name in fields if name in (sample.content or ())]
            answer = await ask(partial(_shown, readable), ("id", *readable)) if readable else answer
        if isinstance(answer, Unavailable):
            return None
        if answer.content is None:
            return {}
        answer.content.complain(self._left_out, event_id)
        return answer.content.entries

    async def course(self, event_id: str, credentials: Credentials) -> bytes | None:
        """Return the course of an event, if the session may see it."""
        cookie, forwarded_for = credentials
        if self._course_field is None or not self._directus.serves(cookie):
            return None
        answer = await self._directus.ask(
            f"/items/events/{quote(event_id, safe='')}?fields={self._course_field}",
            _course,
            cookie=cookie,
            forwarded_for=forwarded_for,
            max_bytes=MAX_COURSE_BYTES,
        )
        if isinstance(answer, Unavailable) or answer.content is None:
            return None
        answer.content.complain(self._left_out, event_id)
        return answer.content.geojson

    async def _ask(
        self,
        event_id: str,
        credentials: Credentials,
        edition: int,
        read: Callable[[bytes], T],
        fields: Sequence[str],
        limit: int = MAX_ENTRIES,
    ) -> Answer[T] | Unavailable:
        of_event = quote(json.dumps({"event_id": {"_eq": event_id}}, separators=(",", ":")), safe="")
        return await self._directus.ask(
            f"/items/entries?fields={','.join(fields)}&limit={limit}&filter={of_event}",
            read,
            cookie=credentials.cookie,
            forwarded_for=credentials.forwarded_for,
            max_bytes=_MAX_BYTES,
            edition=edition,
        )


def _shown(fields: Sequence[str], body: bytes) -> Shown:
    """Do it once for all who share the answer."""
    return shown_entries(read_items(body), fields)


def _names(body: bytes) -> frozenset[str]:
    """Return which fields the first entry has."""
    return frozenset(*(row for row in read_items(body)[:1] if isinstance(row, dict)))


def _course(body: bytes) -> ShownCourse:
    """Do it once for all who share the answer."""
    try:
        fields = msgspec.json.decode(body, type=_Event).data
    except (msgspec.DecodeError, RecursionError):
        return ShownCourse(None, "the answer of Directus cannot be read as the JSON of an event")
    text = next(iter(fields.values()), None)
    return shown_course(None if text is None else bytes(text).decode(errors="replace"))
