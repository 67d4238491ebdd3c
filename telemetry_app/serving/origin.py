"""Origins of pages in one spelling, so that what operators write equals what browsers send."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from yarl import URL

#: What browsers send for pages without an origin: sandboxed ones, and files.
NULL: Final = "null"
#: Stands in an allowed origin for any part of a host name before the rest of it.
ANY_SUBDOMAIN: Final = "*."
_MAX_PORT: Final = 65535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: Schemes that no page has in its origin, and what the origin is instead.
_NO_PAGES: Final = {
    **dict.fromkeys(("ws", "wss"), "that of the page, which begins with http:// or https://"),
    **dict.fromkeys(("file", "data", "blob", "about", "javascript"), f"{NULL}, which such pages send"),
    **dict.fromkeys(("ftp", "mailto"), "that of a page, which begins with http:// or https://"),
}
_SHAPE: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[^\s/?#\\@:\[\]*,]+)(:(?P<port>\d+))?"
)


class OriginError(ValueError):
    """A text is no origin; the error's text says what it must be."""


def canonical(text: str) -> str:
    """Return an origin as browsers send it: in small letters, names in ASCII, without the scheme's own port.

    Raises:
        OriginError: It is none.
    """
    lower = text.lower()
    if lower == NULL:
        return NULL
    found = _SHAPE.fullmatch(lower)
    if found is None:
        raise OriginError(_what_it_must_be(lower))
    scheme, host, port = found["scheme"], found["host"], int(found["port"] or 0)
    if scheme in _NO_PAGES:
        raise OriginError(_what_it_must_be(lower))
    if found["port"] and not 1 <= port <= _MAX_PORT:
        raise OriginError(f"must have a port from 1 to {_MAX_PORT}")
    end = f":{port}" if port and port != _DEFAULT_PORTS.get(scheme) else ""
    return f"{scheme}://{_ascii(host)}{end}"


def canonical_pattern(text: str) -> str:
    """Return an origin to allow; for any subdomain its host may begin with `*.`.

    Raises:
        OriginError: It is neither.
    """
    scheme, separator, rest = text.partition("://")
    subdomain = ANY_SUBDOMAIN if rest.startswith(ANY_SUBDOMAIN) and scheme.lower() in _DEFAULT_PORTS else ""
    origin = canonical(f"{scheme}{separator}{rest.removeprefix(subdomain).removesuffix('/')}")
    return origin.replace("://", f"://{subdomain}", 1)


def matches(origin: str, pattern: str) -> bool:
    """Tell whether an origin is a canonical pattern's, or of a subdomain of its; the parent domain is not."""
    before, any_subdomain, after = pattern.partition(ANY_SUBDOMAIN)
    if not any_subdomain:
        return origin == pattern
    ends = f".{after}"
    return origin.startswith(before) and origin.endswith(ends) and len(origin) > len(before) + len(ends)


def _what_it_must_be(text: str) -> str:
    if instead := _NO_PAGES.get(text.partition(":")[0]):
        return f"must be {instead}"
    _, separator, rest = text.partition("://")
    if not separator:
        return "must have its scheme: https://maps.example.org"
    if "@" in rest:
        return "must be without user and password"
    if "*" in rest:
        return "may have a * only as the whole beginning of a host name: https://*.example.org"
    if re.search(r"[/?#\\]", rest):
        return "must end with the host and its port, without a path"
    return "must have a host name and perhaps a port: https://maps.example.org:8443"


def _ascii(host: str) -> str:
    if host.startswith("["):
        try:
            return f"[{IPv6Address(host[1:-1])}]"
        except ValueError:
            raise OriginError("must have an IPv6 address between its brackets") from None
    if host.isascii():
        return host
    try:
        return URL.build(scheme="https", host=host).raw_host or host
    except ValueError:
        raise OriginError("must have a host name that there can be") from None
