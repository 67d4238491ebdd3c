"""JSON from outside, and entries made of it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from telemetry_app.live.rights.entries import shown_entries
from telemetry_app.live.rights.tolerant import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**5000), 10**5000) | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
ROWS = st.fixed_dictionaries({"id": VALUES}, optional={"name": VALUES, "number": VALUES, "other": VALUES})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b'{"a":[{"b":7}],"a":1}', {"a": 1}),
        (b'{"a":-1' + b"0" * 5000 + b',"b":1}', {"a": -math.inf, "b": 1}),
        (b'["\\ud800",1]', ["\ud800", 1]),
        (b'{"a":' + b"[" * 100_000 + b'"]"' + b"]" * 100_000 + b',"b":[1],"c":{}}', {"a": [], "b": [], "c": []}),
        (b'{"a":"[\\"[","b":' + b'{"c":' * 100_000 + b"1" + b"}" * 100_001, {"a": '["[', "b": []}),
        (b'"\\"' + b'\\"' * 1_000_000, None),
        (b"]" * 100_000, None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_what_is_read(text: bytes, read: Any) -> None:
    """What readers refuse costs nothing but itself; what is no JSON is nothing."""
    assert read_json(text, depth=1) == read


@given(text=st.binary() | st.text(alphabet='[]{}",:\\1').map(str.encode))
def test_any_bytes(text: bytes) -> None:
    """Whatever it is, nothing raises."""
    read_json(text, depth=2)


@given(rows=st.lists(VALUES | ROWS, max_size=5))
def test_any_rows(rows: list[Any]) -> None:
    """Of whatever rows, what is shown can be sent."""
    shown = shown_entries(rows, ("name", "number")).entries
    sent = msgspec.json.decode(msgspec.json.encode(shown))
    assert sent.keys() == shown.keys()
    assert all(entry.keys() <= {"name", "number"} for entry in sent.values())
