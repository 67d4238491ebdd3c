"""Entries as Directus and its tables have them, made fit to be shown: whatever a field holds comes from outside."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from telemetry_app.live.wire.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telemetry_app.live.wire.protocol import EntryFields

#: Most entries of one event that are read.
MAX_ENTRIES: Final = 20_000
#: Integers beyond it lose digits in browsers.
_MAX_INTEGER: Final = 2**53


def shown_entries(rows: Iterable[Mapping[str, Any]]) -> dict[str, EntryFields]:
    """Return what may be shown of entries, by their ids; entries of which nothing can be shown are left out.

    Args:
        rows: The `id` of each entry, and the fields that were asked for.
    """
    shown: dict[str, EntryFields] = {}
    for row in islice(rows, MAX_ENTRIES):
        entry: EntryFields = {
            name: fit for name, value in row.items() if name != "id" and (fit := _fit(value)) is not None
        }
        if entry:
            shown[str(row.get("id"))] = entry
    return shown


def _fit(value: object) -> str | int | float | None:
    """Return a text on one line or a number; None for anything else and for nothing."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < _MAX_INTEGER else None
    return value if isinstance(value, float) and math.isfinite(value) else None
