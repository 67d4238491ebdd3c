"""One line of `telemetry check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from telemetry_app.redaction import redact_url

#: For everything that is asked of one dependency together.
TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, and that it is well or what is wrong and how to fix it."""

    name: str
    ok: bool
    text: str
    warning: bool = False


def good(name: str, text: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(name, ok=True, text=text)


def warned(name: str, what: str, remedy: str) -> Finding:
    """Return a finding that a worker can live with, and what would be better."""
    return Finding(name, ok=True, text=redact_url(f"{what}: {remedy}"), warning=True)


def wrong(name: str, what: str, remedy: str) -> Finding:
    """Return a finding that needs action, with the action."""
    return Finding(name, ok=False, text=redact_url(f"{' '.join(what.split()).rstrip('.')}: {remedy}"))
