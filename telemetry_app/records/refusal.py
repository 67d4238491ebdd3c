"""Why a record is refused. What takes long to find out is found out only then."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

# A reason goes into logs and dead letters: it must never carry a whole payload there.
_MAX_FIELD_CHARS = 64
_MAX_REASON_CHARS = 220
_MAX_KEY_CHARS = 40

_AT_FIELD = re.compile(r" - at `\$\.(\w+)")
_MISSING = re.compile(r"missing required field `(\w+)`")
_BYTE = re.compile(r"\(byte \d+\)")


class CodecError(ValueError):
    """The record cannot be decoded, and will not be by trying again.

    Attributes:
        field: Payload field at fault, `payload` when it is the payload as a whole.
        reason: What is wrong with it, in a few words.
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field = _printable(field, _MAX_FIELD_CHARS)
        self.reason = _printable(reason, _MAX_REASON_CHARS)
        super().__init__(self.field, self.reason)

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"

    def bare(self) -> CodecError:
        """Return the same without traceback: its frames hold the record, and the list that the error is put into."""
        return CodecError(self.field, self.reason)


def child_path(path: str, key: object) -> str:
    """Return the path of a member or an element, such as `attributes.78` or `attributes.list.0`."""
    return f"{path}.{_shown(str(key))}"


def explain(payload: bytes, exc: msgspec.DecodeError) -> CodecError:
    """Name the field at fault in a payload that did not decode.

    Args:
        payload: Valid UTF-8, not nested deeper than the codec allows.
        exc: What msgspec said.
    """
    message = str(exc)
    if missing := _MISSING.search(message):
        # The entry may have a field of that name, which does not count.
        return CodecError(missing[1], "is missing in the payload")
    if at_field := _AT_FIELD.search(message):
        return CodecError(at_field[1], _plain(message[: at_field.start()]))
    if isinstance(exc, msgspec.ValidationError):
        return CodecError("payload", _plain(message))
    return _unrepresentable_field(payload) or CodecError("payload", f"is not valid JSON: {_plain(message)}")


def explain_attributes(raw: bytes, exc: msgspec.DecodeError) -> CodecError:
    """Name the attribute at fault in an attributes object that did not decode."""
    fault = next(_faults(_lenient(raw), "attributes"), None)
    # Bytes are counted from the start of the object here, not of the payload: misleading, so left out.
    return CodecError("attributes", fault or _BYTE.sub("", _plain(str(exc))).rstrip())


def _shown(key: str) -> str:
    """Return `key` as one recognises it in a reason; an empty one as two quotation marks, since it is a name too."""
    return _cut(key, _MAX_KEY_CHARS) or '""'


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def _printable(text: str, max_chars: int) -> str:
    """Return `text` fit for a line of a log: it may quote a key with half a surrogate pair in it, or a line break."""
    short = _cut(text, max_chars)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in short)


def _plain(message: str) -> str:
    text = message.replace("`", "").removeprefix("JSON is malformed: ")
    return text[:1].lower() + text[1:]


def _unrepresentable_field(payload: bytes) -> CodecError | None:
    """Find the NaN, Infinity or lone surrogate that made a strict reader give up."""
    record = _lenient(payload)
    if not isinstance(record, dict):
        return None
    for key, value in record.items():
        field = _shown(key)
        fault = next(_faults(value, field), None)
        if fault is not None:
            return CodecError(field, fault)
    return None


def _lenient(text: bytes) -> Any:
    try:
        return json.loads(text.decode())
    except ValueError:
        return None


def _faults(value: object, path: str) -> Iterator[str]:
    """Yield what JSON proper cannot hold, each as `path is …`."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is not a finite number"
    elif isinstance(value, str) and not _encodable(value):
        yield f"{path} contains half a surrogate pair"
    elif isinstance(value, dict):
        for key, member in value.items():
            if not _encodable(key):
                yield f"a key in {path} contains half a surrogate pair"
            else:
                yield from _faults(member, child_path(path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _faults(element, child_path(path, index))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
