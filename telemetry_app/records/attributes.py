"""The attributes of a record: an open JSON object with big integers and bytes in it.

The producer's JSON has neither, so the wire has `{"__bigint":"1152921504606846976"}` and
`{"__buffer_b64":"3q2+7w=="}`, at any depth. Such an object of exactly one member is a *sentinel*.
"""

from __future__ import annotations

import base64
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from telemetry_app.records.refusal import CodecError, child_path, explain_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    # What a sentinel of a kind stands for, given its content and its path; raises CodecError.
    _Meaning = Callable[[str, object, str], object]

# The payload object itself is level 1, so an attributes object may have one level less.
MAX_DEPTH = 32
# So many objects in one may be that deep, sentinels not counted.
_DEEP = MAX_DEPTH - 2

_BIGINT = "__bigint"
_BUFFER = "__buffer_b64"
# What a double, and so the producer's language, counts exactly.
_MAX_EXACT_INT = 2**53

# A sentinel as the producer spells it, without blanks and without a zero too many; what takes its place in the database
# is its first group, an integer, or its second, base64 of any length: `_apart` counts, at less cost. It cannot match
# inside a JSON string, where its quotes would be escaped. 600 digits: int() is free to refuse more than 640. Possessive
# quantifiers, and no `{` inside: linear.
_SENTINEL = re.compile(
    rb'\{"__b(?:'
    rb'igint":("(?:0|-?[1-9][0-9]{0,599}+)")|'
    rb'uffer_b64":("[A-Za-z0-9+/]*+={0,2}+"))\}'
)
_QUOTES = len(b'""')
_MARK = b'"__b'
# Between objects that are looked at together: no byte of valid JSON.
_SEPARATOR = b"\x00"
# So many are looked at together. With a thousand the copies are so large that the system gives and takes their memory
# each time: a third slower.
_TOGETHER = 200
_NOT_AN_OBJECT = re.compile(rb"\x00(?!\{)")
# One for each case: a leading literal is looked for ten times faster than a set of characters.
_EXPONENT, _UPPER_EXPONENT = re.compile(rb"e[+-]?[0-9]"), re.compile(rb"E[+-]?[0-9]")
# A double has at most 309 digits before its point. Looking for so long a run costs next to nothing: one byte that is
# no zero rules out all the places around it. Only where all of every eighth bytes are digits there may be one.
_LONG_RUN = b"0" * 300
_SAMPLE = 8
_SAMPLED_RUN = b"0" * (len(_LONG_RUN) // _SAMPLE)
_DIGITS_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_DECIMAL = re.compile(r"-?[0-9]+", re.ASCII)
# A string that never ends swallows the rest, so that nothing is scanned twice.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
# Looking for a byte as an int takes a third of the time of looking for it as bytes.
_BACKSLASH, _UNDERSCORE, _BRACE, _UPPER_E = b"\\_{E"

_json = msgspec.json.Decoder()


class Inspected(NamedTuple):
    """What one look at many attributes objects has shown.

    Attributes:
        doubtful: Indexes of those that may not pass `check_attributes`; all others do.
        storable: What `storable_attributes_of` would look for again: their JSON with contents for sentinels, so many
            objects together; None where a sentinel may hide.
    """

    doubtful: list[int]
    storable: list[bytes | None]


def inspect(raws: Sequence[bytes]) -> Inspected:
    """Look at many attributes objects at once, which is cheap, whatever they contain.

    One by one they are looked at only when something is in doubt.

    Args:
        raws: JSON values whose syntax and encoding were checked already.
    """
    inspected = Inspected([], [])
    for start in range(0, len(raws), _TOGETHER):
        some = raws[start : start + _TOGETHER]
        rest, storable = _apart(_SEPARATOR.join([b"", *some]))
        inspected.doubtful.extend([start + index for index in _doubtful_of(rest, len(some))])
        inspected.storable.append(None if _may_hide_a_sentinel(rest) else storable)
    return inspected


def _apart(text: bytes) -> tuple[bytes, bytes]:
    """Return a text without its sentinels, and with contents for sentinels."""
    # What is before a sentinel, its one group, its other group, what is before the next.
    pieces = _SENTINEL.split(text)
    # Of base64 in quotes that is no multiple of four characters the whole stays where it is.
    for at in [at for at in range(2, len(pieces), 3) if pieces[at] and (len(pieces[at]) - _QUOTES) % 4]:
        pieces[at - 2] += b'{"%s":%s}' % (_BUFFER.encode(), pieces[at])
    return b"".join(pieces[::3]), b"".join(filter(None, pieces))


def _doubtful_of(rest: bytes, number: int) -> Iterable[int]:
    """Return the indexes of the doubtful ones, given what is left of so many without their sentinels."""
    # An object that is itself a sentinel has disappeared.
    nested = rest.count(_BRACE) - number
    if not (nested >= _DEEP or _NOT_AN_OBJECT.search(rest) or _doubtful(rest)):
        return ()
    _, *rests = rest.split(_SEPARATOR)
    return [
        index
        for index, one in enumerate(rests)
        if not one.startswith(b"{") or one.count(_BRACE) > _DEEP or _doubtful(one)
    ]


def check_attributes(raw: bytes) -> None:
    """Make sure that an attributes object can be unpacked and stored.

    Args:
        raw: JSON whose syntax and encoding were checked already.

    Raises:
        CodecError: It is not an object, is nested too deep, or a value in it is not what it claims to be.
    """
    if raw[0] != _BRACE:
        raise CodecError("attributes", "is not an object")
    if depth_exceeds(raw, MAX_DEPTH - 1):
        raise too_deep()
    rest, _ = _apart(raw)
    if not rest or _doubtful(rest):
        _convert(raw, _python_value)


def _doubtful(rest: bytes) -> bool:
    """Tell whether what is left without well-formed sentinels may hold a value that is not what it claims to be.

    Skipping over JSON proves its syntax only. An escape may hide a mark or be half a surrogate pair; an exponent or
    hundreds of digits may be no finite number. Decoding every record to know costs more than the rest of the codec.
    """
    return bool(
        _may_hide_a_sentinel(rest)
        or _EXPONENT.search(rest)
        or (_UPPER_E in rest and _UPPER_EXPONENT.search(rest))
        or (
            _SAMPLED_RUN in rest[::_SAMPLE].translate(_DIGITS_TO_ZEROS)
            and _LONG_RUN in rest.translate(_DIGITS_TO_ZEROS)
        )
    )


def _may_hide_a_sentinel(rest: bytes) -> bool:
    return _BACKSLASH in rest or (_UNDERSCORE in rest and _MARK in rest)


def unpack_attributes(raw: bytes) -> dict[str, Any]:
    """Return attributes as Python values: sentinels become int and bytes, at any depth.

    Raises:
        CodecError: Never for the attributes of a decoded position.
    """
    return _convert(raw, _python_value)


def storable_attributes(raw: bytes) -> str:
    """Return the JSON for the database: big integers as decimal strings, bytes as base64 strings, at any depth.

    Args:
        raw: Attributes of a decoded position.

    Raises:
        CodecError: Never for the attributes of a decoded position.
    """
    [storable] = inspect([raw]).storable
    if storable is None:
        return msgspec.json.encode(_convert(raw, _stored_value)).decode()
    return storable.decode().removeprefix(_SEPARATOR.decode())


def storable_attributes_of(raws: Sequence[bytes], found: Sequence[bytes | None] | None = None) -> list[str]:
    """Return `storable_attributes` of many at once, which costs a fraction.

    Args:
        raws: Attributes of decoded positions. None is looked at when `found` has all that is to be known.
        found: What `inspect` has found storable in just these, if they were looked at before.
    """
    storable: list[str] = []
    for number, piece in enumerate(inspect(raws).storable if found is None else found):
        if piece is None:
            storable += map(storable_attributes, raws[number * _TOGETHER : (number + 1) * _TOGETHER])
        else:
            storable += piece[len(_SEPARATOR) :].decode().split(_SEPARATOR.decode())
    return storable


def pack_attributes(attributes: Mapping[str, Any]) -> bytes:
    """Return attributes as they go over the wire; the reverse of `unpack_attributes`.

    Raises:
        CodecError: A value that JSON and the sentinels cannot express, such as NaN.
    """
    packed = {key: _pack(value, child_path("attributes", key)) for key, value in attributes.items()}
    if _is_sentinel(packed):
        raise CodecError("attributes", "would be read as a sentinel")
    try:
        return msgspec.json.encode(packed)
    except (TypeError, ValueError) as exc:
        raise CodecError("attributes", str(exc)) from exc


def depth_exceeds(text: bytes, levels: int) -> bool:
    """Tell whether brackets outside strings are nested deeper than `levels`, valid JSON or not."""
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    depth = 0
    for byte in _STRING.sub(b"", text):
        if byte in b"{[":
            depth += 1
            if depth > levels:
                return True
        elif byte in b"}]":
            depth -= 1
    return False


def too_deep() -> CodecError:
    """Return why a payload with so many levels is refused."""
    return CodecError("payload", f"is nested deeper than {MAX_DEPTH} levels")


def _convert(raw: bytes, meaning: _Meaning) -> dict[str, Any]:
    if depth_exceeds(raw, MAX_DEPTH - 1):
        raise CodecError("attributes", f"is nested deeper than {MAX_DEPTH - 1} levels")
    try:
        value = _json.decode(raw)
    except msgspec.DecodeError as exc:
        raise explain_attributes(raw, exc) from exc
    except UnicodeDecodeError as exc:
        raise CodecError("attributes", "is not UTF-8") from exc
    converted = _walk(value, "attributes", meaning)
    # A sentinel in place of the object stands for a number or bytes.
    if not isinstance(converted, dict):
        raise CodecError("attributes", "is not an object")
    return converted


def _walk(value: object, path: str, meaning: _Meaning) -> object:
    """Return `value` with its sentinels replaced; as deep as the JSON it came from, hence bounded."""
    if isinstance(value, dict):
        if _is_sentinel(value):
            [(kind, content)] = value.items()
            return meaning(kind, content, path)
        # Most members are plain: their paths are not worth building.
        return {
            key: _walk(member, child_path(path, key), meaning) if isinstance(member, dict | list) else member
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [_walk(element, child_path(path, index), meaning) for index, element in enumerate(value)]
    return value


def _is_sentinel(value: dict[str, object]) -> bool:
    return len(value) == 1 and (_BIGINT in value or _BUFFER in value)


def _python_value(kind: str, content: object, path: str) -> int | bytes:
    return _integer(content, path) if kind == _BIGINT else _bytes(content, path)


def _stored_value(kind: str, content: object, path: str) -> object:
    return str(_integer(content, path)) if kind == _BIGINT else content


def _integer(content: object, path: str) -> int:
    if not isinstance(content, str) or not _DECIMAL.fullmatch(content):
        raise CodecError("attributes", f"{path} must be a decimal integer written as a string")
    try:
        return int(content)
    except ValueError as exc:
        raise CodecError("attributes", f"{path} has too many digits") from exc


def _bytes(content: object, path: str) -> bytes:
    if not isinstance(content, str):
        raise CodecError("attributes", f"{path} must be base64 written as a string")
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as exc:
        raise CodecError("attributes", f"{path} is not valid base64") from exc


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _pack(value: object, path: str) -> object:
    if isinstance(value, bytes):
        return {_BUFFER: _base64(value)}
    if isinstance(value, dict):
        if _is_sentinel(value):
            raise CodecError("attributes", f"{path} would be read as a sentinel")
        return {key: _pack(member, child_path(path, key)) for key, member in value.items()}
    if isinstance(value, list):
        return [_pack(element, child_path(path, i)) for i, element in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise CodecError("attributes", f"{path} is not a finite number")
    if type(value) is int and abs(value) > _MAX_EXACT_INT:
        return {_BIGINT: str(value)}
    return value
