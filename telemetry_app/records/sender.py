"""Whose record an entry is, without decoding it: what decides on its partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Sender(msgspec.Struct, gc=False):
    device_id: str


# tcp-ingestion writes `ts`, `device_id`, `codec` and `payload`, in this order.
_USUAL_LENGTH = 8
_decoder = msgspec.json.Decoder(_Sender)


def sender_of(fields: Sequence[bytes]) -> bytes:
    """Return the device that an entry is of: by its field, else by its payload; empty when neither names one.

    Args:
        fields: Name, value, name, value ... as Redis returns them, in any order. The last of a name counts.
    """
    if len(fields) == _USUAL_LENGTH and fields[2] == b"device_id" and fields[4] == b"codec" and fields[6] == b"payload":
        device_id = fields[3]
        if device_id:
            return device_id
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    return named.get(b"device_id") or _named_by(named.get(b"payload", b""))


def _named_by(payload: bytes) -> bytes:
    try:
        return _decoder.decode(payload).device_id.encode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # Refused later, with the reason, by whoever decodes the record.
        return b""
