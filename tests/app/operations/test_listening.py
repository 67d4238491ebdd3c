"""Listening on both families at one port."""

import errno
import socket
from typing import Any

import pytest
from aiohttp import web

from telemetry_app.operations.listening import listen


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Let the ports that are free for IPv6 be taken for IPv4, the first two times."""
    sockets: list[socket.socket] = []
    start = web.TCPSite.start

    async def crossed(site: Any) -> None:
        if site._host == "0.0.0.0" and len(sockets) < 2:  # noqa: S104 - what `::` means
            sockets.append(socket.create_server(("127.0.0.1", site._port)))
        await start(site)

    monkeypatch.setattr(web.TCPSite, "start", crossed)
    return sockets


async def test_another_free_port_is_tried(taken: list[socket.socket]) -> None:
    """Any free port is one that is free for both families."""
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await listen(runner, "::", 0)
    ports = {address[1] for address in runner.addresses}
    assert (len(runner.addresses), len(ports), len(taken)) == (2, 1, 2)
    assert not ports & {one.getsockname()[1] for one in taken}
    await runner.cleanup()
    for one in taken:
        one.close()


async def test_a_port_that_was_asked_for_is_no_other(taken: list[socket.socket]) -> None:
    """A port that somebody else has for one family is taken, and is left for the other."""
    runner = web.AppRunner(web.Application())
    await runner.setup()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OSError, match=f"{port}") as caught:
        await listen(runner, "::", port)
    assert caught.value.errno == errno.EADDRINUSE
    assert runner.addresses == []
    await runner.cleanup()
    taken[0].close()
