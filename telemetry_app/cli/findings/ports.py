"""The ports on which a worker listens."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Final

import aiohttp

from telemetry_app.cli.findings.finding import Finding, good, warned, wrong
from telemetry_app.operations.addresses import host_to_ask, listened_hosts, shown
from telemetry_app.operations.health import PROBE_TIMEOUT_S
from telemetry_app.serving import descriptors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry_app.settings import Settings

#: A worker asks for so long whether it is ready, and needs some time of its own.
_WORKER_TIMEOUT: Final = aiohttp.ClientTimeout(total=2 * PROBE_TIMEOUT_S)


async def look_at_ports(settings: Settings) -> AsyncIterator[Finding]:
    """Check that a worker can listen, or that one already does."""
    wanted = [("METRICS_PORT", settings.metrics_host, settings.metrics_port)]
    if "live" in settings.roles:
        wanted.append(("LIVE_PORT", settings.live_host, settings.live_port))
        yield _open_files(settings.live_max_connections)
    worker_runs = await _is_worker(settings.metrics_host, settings.metrics_port)
    for variable, host, port in wanted:
        problem = _why_not_free(host, port)
        if problem is None:
            yield good(variable, f"{port} is free" if port else "any free port")
        elif worker_runs:
            yield good(variable, f"{port} is in use, and a worker runs here")
        else:
            yield wrong(variable, f"{port} on {host} cannot be used ({problem})", f"set {variable} to a free port")


def _open_files(wanted: int) -> Finding:
    descriptors.raise_limit()
    most = descriptors.most_sockets(descriptors.left_for_clients())
    if most >= wanted:
        return good("open files", f"enough for {wanted} spectators")
    return warned(
        "open files",
        f"enough for {most} spectators, while LIVE_MAX_CONNECTIONS is {wanted}",
        "raise the hard limit (ulimit -Hn, nofile, LimitNOFILE)",
    )


def _why_not_free(host: str, port: int) -> str | None:
    try:
        for each in listened_hosts(host):
            _bind(each, port)
    except OSError as exc:
        return exc.strerror or str(exc)
    return None


def _bind(host: str, port: int) -> None:
    # As a server does it: a port whose last connections are still closing is free.
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)


async def _is_worker(host: str, port: int) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
        async with (
            aiohttp.ClientSession(timeout=_WORKER_TIMEOUT) as client,
            client.get(f"http://{shown(host_to_ask(host), port)}/readyz") as answer,
        ):
            return isinstance(json.loads(await answer.text()), dict)
    return False
