"""What devices and producers wrote, as a terminal may show it."""

from __future__ import annotations

import json


def printable(text: str) -> str:
    """Return a text as it is, or with anything escaped that a terminal could act on."""
    return text if text.isprintable() else json.dumps(text)
