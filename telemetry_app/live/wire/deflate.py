"""permessage-deflate (RFC 7692): what is agreed with a client, and messages without and with it.

No context is kept from one message to the next, on either side. So one compression of a message serves every client
that agreed, and an idle client costs nothing.
"""

from __future__ import annotations

import zlib
from typing import Final

_NAME: Final = "permessage-deflate"
_SERVER_BITS: Final = "server_max_window_bits"
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOW_BITS: Final = {str(bits): bits for bits in range(8, 16)}

#: A window of 4 KiB, as much as a round usually has, and little memory: setting these up costs 5 us a message, a window
#: of 32 KiB twice as much for no gain.
_OUR_BITS: Final = 12
_MEMORY: Final = 5
#: 15 us for forty positions, which become a quarter; the best level takes four times as long for a tenth less.
_LEVEL: Final = 3
#: Ends what a compressor flushes; left out of a message.
_TAIL: Final = b"\0\0\xff\xff"


def agree(offers: str) -> str | None:
    """Return the answer to the first offer of a Sec-WebSocket-Extensions header that can be taken, if there is one."""
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name == _NAME and (answer := _answer(parameters)):
            return answer
    return None


def deflated(message: bytes) -> bytes:
    """Return a message compressed."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_OUR_BITS, _MEMORY)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]


def inflated(data: bytes, most: int) -> bytes:
    """Return the first bytes of a compressed message, at most so many.

    Raises:
        zlib.error: It is none.
    """
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data + _TAIL, most)


def _answer(parameters: list[str]) -> str | None:
    """Return the answer to an offer; None where a parameter is unknown, invalid, repeated, or asks for too much."""
    values: dict[str, str] = {}
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        if name in values or not _is_valid(name, _unquoted(value) if equals else None):
            return None
        values[name] = _unquoted(value)
    agreed = [_NAME, *_FLAGS]
    if _SERVER_BITS in values:
        if _WINDOW_BITS[values[_SERVER_BITS]] < _OUR_BITS:
            return None
        agreed.append(f"{_SERVER_BITS}={_OUR_BITS}")
    return "; ".join(agreed)


def _is_valid(name: str, value: str | None) -> bool:
    """Tell whether an offer may have a parameter, with this value or without one."""
    if name in _FLAGS:
        return value is None
    if name == "client_max_window_bits" and value is None:
        return True
    return name in {_SERVER_BITS, "client_max_window_bits"} and value in _WINDOW_BITS


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
