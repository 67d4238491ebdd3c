"""Which pages may connect, by their origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from telemetry_app.serving.origin import OriginError, canonical, matches

if TYPE_CHECKING:
    from collections.abc import Collection

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def may_connect(origin: str, host: str, allowed_origins: Collection[str]) -> bool:
    """Tell whether the page that connects may.

    Args:
        origin: The Origin header.
        host: The Host header.
        allowed_origins: See `Door`.
    """
    if "*" in allowed_origins:
        return True
    if not allowed_origins:
        return _is_origin_of(origin, host)
    try:
        seen = canonical(origin)
    except OriginError:
        return False
    return any(matches(seen, allowed) for allowed in allowed_origins)


def _is_origin_of(origin: str, host: str) -> bool:
    """Tell whether a page of an origin came from a host; the scheme may differ, for a proxy may end the TLS."""
    scheme, _, _ = origin.partition("://")
    if scheme not in _DEFAULT_PORTS:
        return False
    try:
        theirs, ours = (
            (parts.hostname, parts.port or _DEFAULT_PORTS[scheme])
            for parts in (urlsplit(origin), urlsplit(f"{scheme}://{host}"))
        )
    except ValueError:
        return False
    return theirs == ours
