"""What a client is told of an event besides where its devices are: as much as Directus shows to its session."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, field_validator

from telemetry_app.live.rights.directus import Answer, Unavailable
from telemetry_app.live.rights.entries import MAX_ENTRIES, shown_entries
from telemetry_app.live.wire.course import BadCourseError, fit_course
from telemetry_app.live.wire.protocol import EntryFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telemetry_app.live.ports import Credentials
    from telemetry_app.live.rights.directus import Directus

#: About 200 for each of the most entries.
_MAX_BYTES: Final = 4 * 1024 * 1024
#: About 100 for each of the most points, written with as many digits as programs like to.
_MAX_COURSE_BYTES: Final = 2 * 1024 * 1024
_FORBIDDEN: Final = 403


class _Sample(BaseModel):
    model_config = ConfigDict(strict=True)
    data: list[dict[str, Any]]


class _Entries(BaseModel):
    data: dict[str, EntryFields]

    @field_validator("data", mode="plain")
    @classmethod
    def _make_fit(cls, items: object) -> dict[str, EntryFields]:
        """Do it once for all who share the answer."""
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError("items")
        return shown_entries(items)


class _CourseOnly(BaseModel):
    data: bytes | None

    @field_validator("data", mode="plain")
    @classmethod
    def _make_fit(cls, item: object) -> bytes | None:
        """Do it once for all who share the answer."""
        if not isinstance(item, dict):
            raise ValueError("item")  # noqa: TRY004 - what pydantic expects
        try:
            return fit_course(next(iter(item.values()), None))
        except BadCourseError:
            return None


M = TypeVar("M", _Sample, _Entries)


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

    async def entries(self, event_id: str, credentials: Credentials, edition: int) -> Mapping[str, EntryFields] | None:
        """Return the entries that a session may see, by their ids, each with the fields that it may see.

        That is one question, or three where there is a field that the session may not read or the collection lacks.
        Answers that were given for another edition are not used.
        """
        fields = self._entry_fields
        if not fields or not self._directus.serves(credentials.cookie):
            return {}
        ask = partial(self._ask, event_id, credentials, edition)
        answer = await ask(_Entries, ("id", *fields))
        if isinstance(answer, Answer) and answer.status == _FORBIDDEN:
            # Directus refuses the whole question for one field, but shows all that may be read when asked for `*`.
            sample = await ask(_Sample, ("*",), limit=1)
            if isinstance(sample, Unavailable):
                return None
            items = sample.content.data if sample.content is not None else []
            readable = [name for name in fields if items and name in items[0]]
            answer = await ask(_Entries, ("id", *readable)) if readable else answer
        if isinstance(answer, Unavailable):
            return None
        return answer.content.data if answer.content is not None else {}

    async def course(self, event_id: str, credentials: Credentials) -> bytes | None:
        """Return the course of an event, if the session may see it."""
        cookie, forwarded_for = credentials
        if self._course_field is None or not self._directus.serves(cookie):
            return None
        answer = await self._directus.ask(
            f"/items/events/{quote(event_id, safe='')}?fields={self._course_field}",
            _CourseOnly,
            cookie=cookie,
            forwarded_for=forwarded_for,
            max_bytes=_MAX_COURSE_BYTES,
        )
        return answer.content.data if isinstance(answer, Answer) and answer.content is not None else None

    async def _ask(
        self,
        event_id: str,
        credentials: Credentials,
        edition: int,
        shape: type[M],
        fields: Sequence[str],
        limit: int = MAX_ENTRIES,
    ) -> Answer[M] | Unavailable:
        of_event = quote(json.dumps({"event_id": {"_eq": event_id}}, separators=(",", ":")), safe="")
        return await self._directus.ask(
            f"/items/entries?fields={','.join(fields)}&limit={limit}&filter={of_event}",
            shape,
            cookie=credentials.cookie,
            forwarded_for=credentials.forwarded_for,
            max_bytes=_MAX_BYTES,
            edition=edition,
        )
