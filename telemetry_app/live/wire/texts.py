"""Texts that somebody wrote elsewhere, made fit to be shown on one line."""

from __future__ import annotations

import re
from typing import Final

#: Longest text that is passed on, in characters.
MAX_TEXT: Final = 80
#: Controls, and what turns the direction of text or does not show; joiners stay, which scripts and emoji need.
_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]+"
)


def one_line(value: object) -> str | None:
    """Return a text on one line and cut to its bound; None for anything else and for nothing."""
    if not isinstance(value, str):
        return None
    # Cut first: a text may have megabytes.
    return " ".join(_INVISIBLE.sub(" ", value[: 4 * MAX_TEXT]).split())[:MAX_TEXT].strip() or None
