"""Attributes on the wire, as Python values, and as they are stored."""

import random

import pytest

from telemetry_app.records.codec import (
    CodecError,
    decode,
    inspect,
    pack_attributes,
    storable_attributes,
    unpack_attributes,
)
from tests.support.records import LATEST, payload_with


def attributes_of(raw: str) -> bytes:
    return decode(payload_with("attributes", raw), latest=LATEST).attributes


def test_attributes_as_python_values() -> None:
    """Integers and bytes at any depth."""
    raw = attributes_of(
        '{"a":{"__bigint":"-9007199254740993"},"b":[{"c":{"__buffer_b64":"3q2+7w=="}}],"d":1.5,"e":null,"f":{}}'
    )
    assert unpack_attributes(raw) == {
        "a": -9007199254740993,
        "b": [{"c": b"\xde\xad\xbe\xef"}],
        "d": 1.5,
        "e": None,
        "f": {},
    }


@pytest.mark.parametrize(
    ("wire", "stored"),
    [
        ("{}", "{}"),
        ('{"a":1}', '{"a":1}'),
        ('{"78":{"__bigint":"1152921504606846976"}}', '{"78":"1152921504606846976"}'),
        ('{"a":[{"b":{"__buffer_b64":"3q2+7w=="}}]}', '{"a":[{"b":"3q2+7w=="}]}'),
        ('{"a":{"__buffer_b64":""}}', '{"a":""}'),
        ('{"a":{ "__bigint" : "5" }}', '{"a":"5"}'),
        ('{"a":{"__bigint":"-007"}}', '{"a":"-7"}'),
        ('{"a":{"__bigint":"-0"}}', '{"a":"0"}'),
        ('{"a":{"\\u005f_bigint":"5"}}', '{"a":"5"}'),
        ('{"a":{"__buffer_b64":"\\/\\/8="}}', '{"a":"//8="}'),
        ('{"a":{"__bigint":"5","b":1}}', '{"a":{"__bigint":"5","b":1}}'),
        ('{"a":"{\\"__bigint\\":\\"5\\"}"}', '{"a":"{\\"__bigint\\":\\"5\\"}"}'),
        ('{"a":{"x":"__bigint"}}', '{"a":{"x":"__bigint"}}'),
        ('{"é":"\\u00e9"}', '{"é":"é"}'),
    ],
)
def test_attributes_as_they_are_stored(wire: str, stored: str) -> None:
    """Numbers as decimal strings, bytes as base64 strings, everything else as it came."""
    assert storable_attributes(attributes_of(wire)) == stored


def test_packing_writes_sentinels_where_needed() -> None:
    """Beyond 2^53, on either side, and for bytes."""
    packed = pack_attributes({"a": 2**53, "b": [2**53 + 1, {"c": -(2**53) - 1}], "d": b"\xde\xad\xbe\xef", "e": True})
    assert packed == (
        b'{"a":9007199254740992,"b":[{"__bigint":"9007199254740993"},{"c":{"__bigint":"-9007199254740993"}}],'
        b'"d":{"__buffer_b64":"3q2+7w=="},"e":true}'
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": {"__bigint": "5"}},
        {"__buffer_b64": "AAAA"},
        {"a": "\ud800"},
        {"a": object()},
    ],
)
def test_what_the_wire_cannot_express_is_not_packed(attributes: dict[str, object]) -> None:
    """Better an error than something else at the other end."""
    with pytest.raises(CodecError, match=r"^attributes: "):
        pack_attributes(attributes)


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b'{"a":"\xff"}', b"[" * 60_000, b'{"a":{"__bigint":5}}'])
def test_unpacking_what_was_not_decoded_is_refused(raw: bytes) -> None:
    """Attributes from elsewhere raise nothing else either."""
    with pytest.raises(CodecError, match=r"^attributes: "):
        unpack_attributes(raw)


def test_a_number_beyond_doubles_is_in_doubt_wherever_it_stands() -> None:
    """What is looked at first is a sample of the bytes, in which a long run of digits shows at each offset."""
    raws = [b'{"%b":%b}' % (b"a" * offset, b"9" * 309) for offset in range(16)]
    assert [inspect([raw]).doubtful for raw in raws] == [[0]] * len(raws)


def test_digits_are_no_doubt() -> None:
    """Objects full of numbers are sure to pass, however many of them are looked at together."""
    digits = random.Random(14)
    numbers = [[digits.randrange(10 ** digits.randint(3, 5)) for _ in range(18)] for _ in range(1000)]
    raws = [b"{%b}" % b",".join(b'"%d":%d' % pair for pair in enumerate(row)) for row in numbers]
    assert inspect(raws).doubtful == []


@pytest.mark.parametrize("label", ["Entry 5", "E", "true", "a__b", "3q2+7w=="])
def test_ordinary_text_is_no_doubt(label: str) -> None:
    """Letters that could stand in a number, and underscores, are text where they stand in text."""
    assert inspect([b'{"label":"%b"}' % label.encode()]).doubtful == []


def test_one_doubt_is_nobody_elses() -> None:
    """Of many objects only those with something odd are in doubt."""
    raws = [b'{"239":1}'] * 9
    raws[3], raws[7] = b'{"a":1E5}', b'{"a":"\\n"}'
    assert inspect(raws).doubtful == [3, 7]
