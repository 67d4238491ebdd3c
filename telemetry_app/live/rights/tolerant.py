"""JSON that others wrote: what readers refuse of it costs nothing but itself."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import msgspec
from pydantic import BaseModel

#: A text, which need not end, so that none is looked at twice; or where a list or object begins or ends.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
_OPENING: Final = frozenset({b"[", b"{"})
_CLOSING: Final = frozenset({b"]", b"}"})
#: Integers with more digits are none that anything else can hold, and of thousands Python reads none.
_MAX_DIGITS: Final = 20
#: An answer of Directus, its list and an item; of fields that are lists or objects nothing is shown.
_DEPTH: Final = 3


class _Items(BaseModel):
    data: list[Any]


def read_items(body: bytes) -> list[Any]:
    """Return the items in an answer of Directus, whatever these are.

    Raises:
        ValidationError: There is no list of them.
    """
    return _Items.model_validate(read_json(body, _DEPTH)).data


def read_json(text: bytes, depth: int) -> Any:
    """Return what JSON says; None if it cannot be read at all.

    Numbers that are too large become infinite. Texts may have lone surrogates. Where something is nested too deeply
    to be read, empty lists are in the place of all lists and objects below `depth`.

    Args:
        text: JSON from outside.
        depth: How deep lists and objects matter, the outermost one being at 1.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        return json.loads(_flat(text, depth), parse_int=_integer, strict=False)
    except (ValueError, RecursionError):
        return None


def _flat(text: bytes, depth: int) -> bytes:
    parts, level, begin = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in _OPENING:
            level += 1
            if level == depth + 1:
                parts += [text[begin : token.start()], b"[]"]
        elif token[0] in _CLOSING:
            if level == depth + 1:
                begin = token.end()
            level -= 1
    return b"".join([*parts, text[begin:]])


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)
