"""Addresses to listen on: which sockets they mean, how one reaches them, how they stand in a URL."""

from __future__ import annotations

import ipaddress
from typing import Final

_EVERY_IPV4: Final = "0.0.0.0"  # noqa: S104 - what `::` means to operators, and to other servers


def listened_hosts(host: str) -> tuple[str, ...]:
    """Return the hosts to open a socket on; `::` means every address of both families."""
    return (host, _EVERY_IPV4) if _is_every(host) and ":" in host else (host,)


def host_to_ask(host: str) -> str:
    """Return where a client on this machine reaches what listens on `host`."""
    return "127.0.0.1" if _is_every(host) else host


def shown(host: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_every(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
