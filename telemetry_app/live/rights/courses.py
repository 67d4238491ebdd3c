"""Courses as Directus and its tables have them, made fit to be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from telemetry_app.live.wire.course import BadCourseError, fit_course

if TYPE_CHECKING:
    from telemetry_app.live.rights.left_out import LeftOut

#: About 100 for each of the most points, written with as many digits as programs like to.
MAX_COURSE_BYTES: Final = 2 * 1024 * 1024
#: What a field has that was left empty.
_EMPTY: Final = frozenset({None, "null", '""'})


class ShownCourse(NamedTuple):
    """The course of an event.

    Attributes:
        geojson: As `fit_course` makes it; None without one that can be shown.
        why_not: Why it cannot be shown; None if it can, or if there is none.
    """

    geojson: bytes | None
    why_not: str | None

    def complain(self, left_out: LeftOut, event_id: str) -> None:
        """Say why it had to be left out."""
        if self.why_not is not None:
            left_out.say(event_id, "the course", self.why_not)


def shown_course(text: str | None) -> ShownCourse:
    """Return what may be shown of a field, of which the JSON is given; a large one takes a tenth of a second."""
    if text in _EMPTY:
        return ShownCourse(None, None)
    try:
        return ShownCourse(fit_course(text), None)
    except BadCourseError as error:
        return ShownCourse(None, str(error))
