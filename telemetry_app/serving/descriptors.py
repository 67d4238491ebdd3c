"""File descriptors: as many as the system allows, and some of them never for clients."""

from __future__ import annotations

import contextlib
import resource
import sys
from typing import Final

#: For what a worker opens itself: 30 for the process, up to 64 connections of its port for metrics and health, up to 70
#: to databases, 16 to Directus, some to each node of Redis; and for the moment in which a newcomer is cut.
_KEPT: Final = 224
#: For clients that come, ask or load the page while there are as many WebSockets as may be.
_ANSWERING: Final = 256


def raise_limit() -> None:
    """Raise the soft limit of this process to the hard one: the soft one is low for programs that use `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS takes no limit above a bound of its own, which `unlimited` is.
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_sockets(descriptors: int) -> int:
    """Return how many of these WebSockets may have, so that newcomers can still be answered."""
    return descriptors - min(_ANSWERING, descriptors // 4)


def needed_for(sockets: int) -> int:
    """Return how many descriptors a worker must have to let so many WebSockets in."""
    return sockets + _KEPT + _ANSWERING


def left_for_clients() -> int:
    """Return how many descriptors the clients of a worker may have together."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return soft - min(_KEPT, soft // 2)
