"""Listening as operators mean it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from aiohttp import web

from telemetry_app.operations.addresses import listened_hosts

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What is free for one family may be taken for the other: so often another free port is tried.
_TRIES: Final = 10


async def listen(runner: web.AppRunner, host: str, port: int) -> None:
    """Serve on an address; `::` is every address of this machine, of both families.

    The event loop opens every IPv6 socket for IPv6 alone. A second socket, unlike one for both families, shows IPv4
    clients by their own addresses.

    Args:
        runner: Set up; what it serves.
        host: Name or address.
        port: 0 = any free one, the same for both families.

    Raises:
        OSError: The address is not ours, or the port is taken.
    """
    for left in reversed(range(_TRIES)):
        try:
            await _listen(runner, listened_hosts(host), port)
        except OSError as error:
            if port or not left or error.errno != errno.EADDRINUSE:
                raise
        else:
            return


async def _listen(runner: web.AppRunner, hosts: Iterable[str], port: int) -> None:
    """Serve on all or none."""
    sites: list[web.TCPSite] = []
    try:
        for host in hosts:
            sites.append(web.TCPSite(runner, host, port))
            await sites[-1].start()
            port = port or int(runner.addresses[0][1])
    except OSError:
        for site in sites:
            await site.stop()
        raise
