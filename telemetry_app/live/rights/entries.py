"""Entries as Directus and its tables have them, made fit to be shown: whatever a field holds comes from outside."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from telemetry_app.live.wire.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from telemetry_app.live.rights.left_out import LeftOut
    from telemetry_app.live.wire.protocol import EntryFields

#: Most entries of one event that are read.
MAX_ENTRIES: Final = 20_000
#: Integers beyond it lose digits in browsers.
_MAX_INTEGER: Final = 2**53
#: Bounds of the integers that databases have as keys.
_MAX_KEY: Final = 2**63


class _Oddity(NamedTuple):
    """Something that is odd: the first entry of which it is, and how many there are."""

    entry: str
    entries: int


class Shown(NamedTuple):
    """What may be shown of the entries of an event.

    Attributes:
        entries: By their ids, each with some of its fields.
        oddities: What had to be left out, by what it is and why.
    """

    entries: Mapping[str, EntryFields]
    oddities: Mapping[tuple[str, str], _Oddity]

    def complain(self, left_out: LeftOut, event_id: str) -> None:
        """Say what had to be left out."""
        for (what, reason), (entry, entries) in self.oddities.items():
            more = f" and {entries - 1} more" if entries > 1 else ""
            left_out.say(event_id, what, reason, f" of entry {entry}{more}")


class _OddError(Exception):
    """Something cannot be shown; the message says why."""


def shown_entries(rows: Iterable[object], fields: Collection[str]) -> Shown:
    """Return what may be shown of entries; those of which nothing can be shown are left out.

    Args:
        rows: Entries, of which each should be an object with its `id` and fields.
        fields: Names of those that are shown.
    """
    entries: dict[str, EntryFields] = {}
    oddities: dict[tuple[str, str], _Oddity] = {}

    def leave_out(entry: str, what: str, error: _OddError) -> None:
        first, number = oddities.get((what, str(error)), (entry, 0))
        oddities[what, str(error)] = _Oddity(first, number + 1)

    for number, row in enumerate(islice(rows, MAX_ENTRIES), start=1):
        try:
            entry_id, values = _identified(row)
        except _OddError as error:
            leave_out(f"number {number}", "all", error)
            continue
        entry: EntryFields = {}
        for name in fields:
            try:
                fit = _fit(values.get(name))
            except _OddError as error:
                leave_out(repr(one_line(entry_id)), f"field {name!r}", error)
            else:
                if fit is not None:
                    entry[name] = fit
        if entry:
            entries[entry_id] = entry
    return Shown(entries, oddities)


def _identified(row: object) -> tuple[str, Mapping[str, object]]:
    if not isinstance(row, dict):
        raise _OddError("it is no object")
    entry_id = row.get("id")
    if isinstance(entry_id, str):
        return entry_id, row
    if type(entry_id) is int and abs(entry_id) <= _MAX_KEY:
        return str(entry_id), row
    raise _OddError("it has no id")


def _fit(value: object) -> str | int | float | None:
    """Return a text on one line or a number; None for nothing."""
    if value is None:
        return None
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _OddError("it is neither text nor a number")
    if abs(value) >= _MAX_INTEGER if isinstance(value, int) else not math.isfinite(value):
        raise _OddError("it is a number that no browser can hold")
    return value
