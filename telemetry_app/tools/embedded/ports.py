"""TCP ports for servers: free, and told to no other process."""

from __future__ import annotations

import itertools
import random
import socket
import threading
from typing import Final

from telemetry_app.tools.embedded.process import EmbeddedServerError

# Below the range from which Linux (32768) and macOS (49152) take the ports of outgoing connections: there,
# a port is still ours when a stopped server comes back to it.
_PORTS: Final = range(20_000, 32_000)
_BLOCK: Final = 100


class _OurPorts:
    """A block of ports that this process has to itself as long as it lives, and goes round in.

    Until a server has started, and while it is down, its port looks free to everybody. So of those who ask here each
    process holds the first port of a block, without listening on it, and is given the others.
    """

    def __init__(self) -> None:
        # Two threads must not be told the same one.
        self._lock = threading.Lock()
        self._ports: itertools.cycle[int] | None = None

    def free(self) -> int:
        with self._lock:
            self._ports = self._ports or itertools.cycle(_claim_block())
            for port in itertools.islice(self._ports, _BLOCK):
                if probe := _bound(port):
                    probe.close()
                    return port
        raise EmbeddedServerError(f"This process has no free port left of its {_BLOCK}.")


def _claim_block() -> range:
    for first in random.sample(_PORTS[::_BLOCK], len(_PORTS) // _BLOCK):
        if guard := _bound(first):
            guard.detach()  # open until the process ends
            return range(first + 1, first + _BLOCK)
    raise EmbeddedServerError(f"Every block of ports between {_PORTS.start} and {_PORTS.stop} is taken.")


def _bound(port: int) -> socket.socket | None:
    """Return a socket on a port of 127.0.0.1, or None where somebody has it."""
    probe = socket.socket()
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        probe.close()
        return None
    return probe


_ours: Final = _OurPorts()


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nobody listens on, outside the range of outgoing connections.

    Other processes that ask are told others, and so are the next calls, until all have had their turn.

    Raises:
        EmbeddedServerError: Every port that was tried is taken.
    """
    return _ours.free()
