"""WebSocket frames of a server, as bytes (RFC 6455, section 5.2): never masked, never fragmented."""

from __future__ import annotations

from struct import Struct
from typing import Final

_FIN_TEXT: Final = 0x81
_FIN_DEFLATED_TEXT: Final = 0xC1
_FIN_CLOSE: Final = 0x88
_FIN_PING: Final = 0x89
_FIN_PONG: Final = 0x8A

#: Payload lengths up to this stand in the second byte; above, it says how many bytes the length has.
_MAX_SHORT: Final = 125
_MAX_MEDIUM: Final = 0xFFFF
#: With the longest form of a length.
MAX_HEADER_BYTES: Final = 10
_short = Struct("!BB").pack
_medium = Struct("!BBH").pack
_long = Struct("!BBQ").pack
_code = Struct("!H").pack

PING: Final = _short(_FIN_PING, 0)


def text_frame(payload: bytes) -> bytes:
    """Return a text frame; the payload is UTF-8."""
    return _header(_FIN_TEXT, len(payload)) + payload


def deflated_frame(payload: bytes) -> bytes:
    """Return a text frame of a message that is compressed (see `deflate`), for those who agreed to that."""
    return _header(_FIN_DEFLATED_TEXT, len(payload)) + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame; a reason has at most 123 bytes of UTF-8."""
    return _short(_FIN_CLOSE, 2 + len(reason)) + _code(code) + reason


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping, whose payload has at most 125 bytes."""
    return _short(_FIN_PONG, len(payload)) + payload


def _header(first_byte: int, length: int) -> bytes:
    if length <= _MAX_SHORT:
        return _short(first_byte, length)
    if length <= _MAX_MEDIUM:
        return _medium(first_byte, 126, length)
    return _long(first_byte, 127, length)
