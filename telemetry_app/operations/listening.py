"""Listening as operators mean it."""

from __future__ import annotations

from aiohttp import web

from telemetry_app.operations.addresses import listened_hosts


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
    for each in listened_hosts(host):
        await web.TCPSite(runner, each, port).start()
        port = port or int(runner.addresses[0][1])
