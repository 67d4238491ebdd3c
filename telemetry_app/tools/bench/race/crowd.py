"""Many receivers on the machine of who sends: what their own machines would do must not count as the sender's."""

from __future__ import annotations

import socket
import time
from typing import Final

#: Fewer receivers are read as they come.
CROWD: Final = 100
_PAUSE_S: Final = 0.001
#: What makes the system wait before it acknowledges, and what makes it do so at once.
_LATER: Final = 0
_NOW: Final = 2
_RENEWED_EVERY: Final = 4


def pause() -> None:
    """Wait before looking again: who is woken for every frame is woken in the processor time of who sends it."""
    time.sleep(_PAUSE_S)


def delay_acknowledgements(one: socket.socket) -> None:
    """Have the system leave what comes on a socket to `acknowledge`.

    After a silence longer than the time in which a packet counts as lost, which is 0.2 s at least, it acknowledges what
    comes at once: here in the processor time of who sends it, where that takes a sixth of a worker's.
    """
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, _LATER)


def acknowledge(one: socket.socket, number: int) -> None:
    """Acknowledge what has come on a socket, and have the system leave what comes then to the next of these calls.

    Where it was so late that the system has acknowledged already, that alone would end the waiting for good. So some
    of the calls ask for it anew; all would take a tenth of a receiver's time.

    Args:
        one: The socket.
        number: Of the read, among those of all sockets.
    """
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, _NOW)
    if number % _RENEWED_EVERY == 0:
        delay_acknowledgements(one)
