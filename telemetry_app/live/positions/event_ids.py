"""Which texts can be the id of an event, by the type of the column that holds it."""

from __future__ import annotations

import re
from typing import Final

#: Bits of PostgreSQL's integers.
_BITS: Final = {"smallint": 16, "integer": 32, "bigint": 64}
#: The one spelling of each number, and no more digits than the largest has.
_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
#: As PostgreSQL spells it, and so Directus and the topics.
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def can_be_an_event_id(text: str, column_type: str | None) -> bool:
    """Tell whether a text is the spelling of a value of the column.

    Directus takes other spellings for the same event (`007`, `+7`, a UUID in capitals), and fails with 500 at numbers
    that are too large; under neither is anything ever published.

    Args:
        text: Taken from the client unchecked.
        column_type: As PostgreSQL names it; None = not known yet, when every text can be one.
    """
    if column_type in _BITS:
        bound = 1 << (_BITS[column_type] - 1)
        return _NUMBER.fullmatch(text) is not None and -bound <= int(text) < bound
    return column_type != "uuid" or _UUID.fullmatch(text) is not None
