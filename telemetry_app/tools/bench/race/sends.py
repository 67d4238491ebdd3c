"""What sending costs on this machine whoever does it: a bare loop over as many sockets, with as many bytes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import Final

import msgspec

from telemetry_app.tools.bench.helper import serve
from telemetry_app.tools.bench.race.crowd import CROWD, acknowledge, delay_acknowledgements, pause

#: Between two rounds, in which the receivers come to rest, as spectators do between a worker's rounds.
_REST_S: Final = 0.1
_ROUNDS: Final = 10
_BACKLOG: Final = 4096
_TIMEOUT_S: Final = 30.0
_READ_BYTES: Final = 1 << 16


class Send(msgspec.Struct, frozen=True):
    """Send so many bytes to each of so many sockets, several times."""

    sockets: int
    size: int


class Sent(msgspec.Struct, frozen=True):
    """The processor time that one send took, the kernel's part included."""

    cpu_us_per_send: float


def carry_out(order: Send) -> Sent:
    """Send to sockets that another process reads."""
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as server:
        server.settimeout(_TIMEOUT_S)
        child = os.fork()
        if not child:
            _receive(server.getsockname(), order.sockets)
        with contextlib.ExitStack() as opened:
            # Receivers that see an end, leave.
            sockets = [opened.enter_context(server.accept()[0]) for _ in range(order.sockets)]
            for one in sockets:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            used_s = _send(sockets, bytes(order.size))
        os.waitpid(child, 0)
    return Sent(round(used_s * 1e6 / (_ROUNDS * order.sockets), 2))


def _send(sockets: list[socket.socket], data: bytes) -> float:
    used_s = 0.0
    for _ in range(_ROUNDS):
        time.sleep(_REST_S)
        begun_s = time.process_time()
        for one in sockets:
            one.send(data)
        used_s += time.process_time() - begun_s
    return used_s


def _receive(address: tuple[str, int], number: int) -> None:
    """Read what comes until one of the sockets ends, then end this process."""
    status = 1
    try:
        sockets = {one.fileno(): one for one in (socket.create_connection(address, _TIMEOUT_S) for _ in range(number))}
        buffer, poll = bytearray(_READ_BYTES), select.epoll()
        is_crowd = number > CROWD
        for descriptor, one in sockets.items():
            poll.register(descriptor, select.EPOLLIN)
            if is_crowd:
                delay_acknowledgements(one)
        while all(_take(sockets[descriptor], buffer, is_crowd) for descriptor, _ in poll.poll(_TIMEOUT_S, number)):
            if is_crowd:
                pause()
        status = 0
    finally:
        # It must not carry out orders.
        os._exit(status)


def _take(one: socket.socket, buffer: bytearray, is_crowd: bool) -> int:  # noqa: FBT001 - for each of thousands
    """Read what has come on a socket; return how much that is."""
    size = one.recv_into(buffer)
    if is_crowd:
        acknowledge(one, 0)
    return size


if __name__ == "__main__":
    serve(Send, carry_out)
