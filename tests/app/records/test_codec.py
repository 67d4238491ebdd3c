"""What the codec takes, what it refuses, and what it says then."""

import sys
from datetime import UTC, datetime, timedelta

import pytest

from telemetry_app.records.codec import (
    EARLIEST,
    MAX_PAYLOAD_BYTES,
    CodecError,
    decode,
    decode_entry,
    encode,
    unpack_attributes,
)
from telemetry_app.records.decoding import decode_entries
from telemetry_app.records.position import Position
from tests.support.records import ATTRIBUTES, LATEST, fields, payload, payload_with, record

NUMBERS = ("latitude", "longitude", "altitude", "angle", "speed", "satellites", "priority")
FIELDS = tuple(record())


def refusal(raw: bytes) -> CodecError:
    with pytest.raises(CodecError) as caught:
        decode(raw, latest=LATEST)
    assert str(caught.value) == f"{caught.value.field}: {caught.value.reason}"
    assert len(str(caught.value)) <= 300
    return caught.value


def attributes_of(raw: str) -> bytes:
    return decode(payload_with("attributes", raw), latest=LATEST).attributes


def nested(levels: int) -> str:
    """An attributes object with which the payload has `levels` levels."""
    return '{"a":' * (levels - 1) + "1" + "}" * (levels - 1)


def test_a_record_becomes_a_position() -> None:
    """Every field of the payload has its place; the codec comes from the entry."""
    fields = [b"ts", b"ignored", b"device_id", b"ignored too", b"codec", b"8E", b"payload", payload()]
    assert decode_entry(fields, latest=LATEST) == Position(
        device_id="356307042441013",
        ts=datetime(2026, 5, 2, 12, tzinfo=UTC),
        latitude=41.99,
        longitude=21.43,
        altitude=240.0,
        angle=180.0,
        speed=33.0,
        satellites=12,
        priority=0,
        attributes=b'{"239":1,"78":{"__bigint":"1152921504606846976"},"10828":{"__buffer_b64":"3q2+7w=="},'
        b'"240":true,"label":"x"}',
        codec="8E",
    )


def test_the_order_of_entry_fields_does_not_matter() -> None:
    """`payload` is found wherever it stands, among unknown names."""
    first = decode_entry([b"payload", payload(), b"new", b"1", b"codec", b"16"], latest=LATEST)
    assert first == decode(payload(), latest=LATEST, codec="16")


def test_the_usual_fields_and_others_come_out_alike() -> None:
    """The order of tcp-ingestion is read by a shorter way."""
    usual = [b"ts", b"2026-05-02T12:00:00Z", b"device_id", b"x", b"codec", b"8E", b"payload", payload()]
    assert decode_entry(usual, latest=LATEST) == decode(payload(), latest=LATEST, codec="8E")
    assert decode_entry([*usual, b"codec", b"16"], latest=LATEST).codec == "16"


def test_payload_alone_is_enough() -> None:
    """Without a codec the position has none."""
    assert decode_entry([b"payload", payload()], latest=LATEST).codec is None


def test_a_codec_that_is_no_utf8_is_replaced() -> None:
    """Bad bytes in the codec do not cost the record."""
    entry = decode_entry([b"codec", b"8\xff", b"payload", payload()], latest=LATEST)
    assert entry.codec == "8\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"codec", b"8"],
        [b"payload"],
        [b"codec", b"8", b"payload"],
        [b"ts", b"", b"device_id", b"x", b"codec", b"8", b"payload"],
    ],
)
def test_an_entry_without_payload_is_refused(fields: list[bytes]) -> None:
    """Also when the name is there and its value is not."""
    with pytest.raises(CodecError, match=r"^payload: is missing$"):
        decode_entry(fields, latest=LATEST)


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(field: str) -> None:
    """Each of the ten is required in the payload, also where the entry has a field of that name."""
    with pytest.raises(CodecError) as caught:
        decode_entry([field.encode(), b"1", b"payload", payload(**{field: ...})], latest=LATEST)
    assert (caught.value.field, caught.value.reason) == (field, "is missing in the payload")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["null", "[]", "[1]"])
def test_a_value_of_the_wrong_kind_is_refused(field: str, value: str) -> None:
    """Null and arrays are right nowhere."""
    assert refusal(payload_with(field, value)).field == field


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", ["true", "false", '"1"', '""', "{}"])
def test_only_a_number_is_a_number(field: str, value: str) -> None:
    """Neither booleans nor numbers in quotes are taken for one."""
    assert refusal(payload_with(field, value)).field == field


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e400"])
def test_a_number_that_is_not_finite_is_refused(field: str, value: str) -> None:
    """However it is spelled; the field is named although such JSON is malformed."""
    assert refusal(payload_with(field, value)).field == field


@pytest.mark.parametrize("field", ["latitude", "altitude"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_an_integer_too_large_for_a_double_is_refused(field: str, digits: int) -> None:
    """Digits alone can overflow, too."""
    assert refusal(payload_with(field, "9" * digits)).field == field


@pytest.mark.parametrize("field", ["satellites", "priority"])
@pytest.mark.parametrize("value", ["12.5", "12.0", "1e2", "9" * 5000])
def test_a_count_is_an_integer(field: str, value: str) -> None:
    """No fraction, no exponent, and no more digits than Python reads."""
    assert refusal(payload_with(field, value)).field == field


@pytest.mark.parametrize("value", [-1, 40_000, 2**70])
def test_an_integer_beyond_smallint_is_accepted(value: int) -> None:
    """The database is who refuses it."""
    position = decode(payload(satellites=value), latest=LATEST)
    assert position.satellites == value
    assert decode(encode(position), latest=LATEST) == position


@pytest.mark.parametrize(("field", "bound"), [("latitude", 90), ("longitude", 180)])
@pytest.mark.parametrize("sign", [1, -1])
def test_coordinates_end_at_the_poles_and_the_date_line(field: str, bound: int, sign: int) -> None:
    """The bound itself belongs to the earth, the next number does not."""
    assert getattr(decode(payload(**{field: sign * bound}), latest=LATEST), field) == sign * bound
    assert refusal(payload(**{field: sign * (bound + 1e-9)})).field == field


@pytest.mark.parametrize("value", ['""', "5", '"\\ud800"', "{}", '"\\udc00x"'])
def test_a_device_id_is_text(value: str) -> None:
    """Empty, no string, or half a surrogate pair: refused by name."""
    assert refusal(payload_with("device_id", value)).field == "device_id"


def test_a_nul_character_is_accepted() -> None:
    """The database is who refuses it."""
    assert decode(payload(device_id="a\0b"), latest=LATEST).device_id == "a\0b"


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-05-02T12:00:00Z", 12),
        ("2026-05-02T12:00:00+02:00", 10),
        ("2026-05-02T12:00:00-05:00", 17),
        ("2026-05-02T12:00:00.000000000Z", 12),
    ],
)
def test_a_timestamp_is_given_in_utc(text: str, hour: int) -> None:
    """Whatever the zone it was written in."""
    ts = decode(payload(timestamp=text), latest=LATEST).ts
    assert (ts, ts.tzinfo) == (datetime(2026, 5, 2, hour, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-02T12:00:00",
        "2026-05-02",
        "2026-13-02T12:00:00Z",
        "yesterday",
        "",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        1_777_000_000,
        True,
    ],
)
def test_a_timestamp_has_a_date_a_time_and_a_zone(value: object) -> None:
    """Anything else is refused, also at the ends of the calendar."""
    assert refusal(payload(timestamp=value)).field == "timestamp"


@pytest.mark.parametrize(("limit", "outwards"), [(EARLIEST, -1), (LATEST, 1)])
def test_timestamps_are_bounded(limit: datetime, outwards: int) -> None:
    """The limits themselves are accepted, a microsecond beyond is not."""
    beyond = limit + outwards * timedelta(microseconds=1)
    assert decode(payload(timestamp=limit.isoformat()), latest=LATEST).ts == limit
    assert refusal(payload(timestamp=beyond.isoformat())).field == "timestamp"


@pytest.mark.parametrize(
    "value", ["1", '"x"', "true", '{"__bigint":"5"}', '{"__buffer_b64":"3q2+7w=="}', ' {"__bigint" : "5"}']
)
def test_attributes_are_an_object(value: str) -> None:
    """A sentinel in their place stands for something else."""
    error = refusal(payload_with("attributes", value))
    assert (error.field, error.reason) == ("attributes", "is not an object")


@pytest.mark.parametrize("kind", ["__bigint", "\\u005f_bigint", "__bi\\u0067int"])
@pytest.mark.parametrize(
    "content",
    ["5", "null", "{}", '""', '"abc"', '"1.5"', '"0x10"', '"1_000"', '" 5"', '"+5"', '"-"', '"٣"', f'"{"9" * 5000}"'],
)
def test_a_big_integer_is_decimal_digits(kind: str, content: str) -> None:
    """Anything else is refused with its path, however the name of the sentinel is spelled."""
    error = refusal(payload_with("attributes", f'{{"a":1,"78":{{"{kind}":{content}}}}}'))
    reason = "has too many digits" if len(content) > 5000 else "must be a decimal integer written as a string"
    assert (error.field, error.reason) == ("attributes", f"attributes.78 {reason}")


@pytest.mark.parametrize(
    "content", ["5", "null", "[]", '"3q2+7w"', '"3q2+7w="', '"3q2-7w=="', '"=="', '"é"', '"AAAA AAAA"', '"A==="']
)
def test_bytes_are_base64(content: str) -> None:
    """Anything else is refused with its path."""
    error = refusal(payload_with("attributes", f'{{"io":[0,{{"10828":{{"__buffer_b64":{content}}}}}]}}'))
    reason = "is not valid base64" if content.startswith('"') else "must be base64 written as a string"
    assert (error.field, error.reason) == ("attributes", f"attributes.io.1.10828 {reason}")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "-1E400", "1" * 400 + ".5", '"\\ud800"', '"\\udc00"'])
def test_a_value_that_json_cannot_hold_is_refused_in_attributes(value: str) -> None:
    """With the path; what is stored raw is checked as well as what is decoded."""
    error = refusal(payload_with("attributes", f'{{"a":{{"b":[1,{value}]}}}}'))
    reason = "contains half a surrogate pair" if value.startswith('"') else "is not a finite number"
    assert (error.field, error.reason) == ("attributes", f"attributes.a.b.1 {reason}")


@pytest.mark.parametrize(
    ("raw", "field", "reason"),
    [
        (b'{"":Infinity}', '""', '"" is not a finite number'),
        (b'{"a":{"":[NaN]}}', "a", 'a."".0 is not a finite number'),
        (b'{"a.b":"\\ud800"}', "a.b", "a.b contains half a surrogate pair"),
        (payload_with("attributes", '{"":NaN}'), "attributes", 'attributes."" is not a finite number'),
    ],
)
def test_a_name_that_is_empty_is_a_name(raw: bytes, field: str, reason: str) -> None:
    """What JSON cannot hold is named wherever it stands, under whatever key."""
    error = refusal(raw)
    assert (error.field, error.reason) == (field, reason)


def test_an_integer_of_too_many_digits_is_refused_in_attributes() -> None:
    """Python would not read it back."""
    digits = "9" * (sys.get_int_max_str_digits() + 1)
    assert refusal(payload_with("attributes", f'{{"a":{digits}}}')).field == "attributes"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"x",
        b"[]",
        b"null",
        b"5",
        b'"x"',
        b"\xef\xbb\xbf{}",
        payload()[:-1],
        payload() + b"x",
        payload() + b"{}",
        payload_with("attributes", '{"a":01}'),
        payload_with("attributes", '{"a":1,}'),
        payload_with("attributes", '{"a":"\n"}'),
        payload_with("attributes", '{"a":"\\q"}'),
        payload_with("latitude", "01"),
    ],
)
def test_what_is_no_json_object_is_refused_as_a_whole(raw: bytes) -> None:
    """The field is the payload."""
    assert refusal(raw).field == "payload"


@pytest.mark.parametrize("field", ["device_id", "attributes", "unknown"])
def test_invalid_utf8_is_refused(field: str) -> None:
    """Wherever it stands, in an unknown field too."""
    value = b'{"a":"\xff"}' if field == "attributes" else b'"\xff"'
    error = refusal(payload_with(field, value))
    assert error.field == "payload"
    assert error.reason.startswith("is not UTF-8")


def test_size_is_bounded() -> None:
    """64 KiB are accepted, one byte more is not."""
    padding = MAX_PAYLOAD_BYTES - len(payload(attributes={"a": ""}))
    assert decode(payload(attributes={"a": "x" * padding}), latest=LATEST)
    error = refusal(payload(attributes={"a": "x" * (padding + 1)}))
    assert (error.field, error.reason) == ("payload", "has 65537 bytes; at most 65536 are allowed")


@pytest.mark.parametrize("field", ["attributes", "unknown"])
def test_depth_is_bounded(field: str) -> None:
    """32 levels with the payload itself are accepted, 33 are not, in an unknown field neither."""
    assert decode(payload_with(field, nested(32)), latest=LATEST)
    error = refusal(payload_with(field, nested(33)))
    assert (error.field, error.reason) == ("payload", "is nested deeper than 32 levels")


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * MAX_PAYLOAD_BYTES,
        b'{"a":' * 13_000,
        payload_with("attributes", "[" * 30_000 + "]" * 30_000),
        b'"' + b'\\"' * 32_000,
        b"{[" * 50 + b'"' + b'\\"' * 30_000,
        payload_with("attributes", '{"__bigint":"' * 4_000),
        payload_with("attributes", '{"__buffer_b64":"' + "A" * 60_000),
    ],
)
def test_hostile_payloads_are_refused_like_others(raw: bytes) -> None:
    """Neither the stack nor a regular expression gives way."""
    assert refusal(raw).field == "payload"


def test_brackets_inside_strings_are_no_depth() -> None:
    """A text full of brackets, quotes and backslashes is a text."""
    text = '{["\\' * 1000
    assert unpack_attributes(decode(payload(attributes={"a": text}), latest=LATEST).attributes) == {"a": text}


def test_many_containers_side_by_side_are_no_depth() -> None:
    """A hundred sentinels are two levels."""
    raw = attributes_of("{" + ",".join(f'"{i}":{{"__bigint":"{i}"}}' for i in range(100)) + "}")
    assert unpack_attributes(raw) == {str(i): i for i in range(100)}


def test_of_equal_keys_the_last_counts() -> None:
    """As everywhere else where this JSON is read; one that does not count may hold anything."""
    raw = payload().replace(b'"speed":33', b'"speed":1,"speed":33')
    assert decode(raw, latest=LATEST) == decode(payload(), latest=LATEST)
    assert unpack_attributes(attributes_of('{"a":{"__bigint":"x"},"a":7}')) == {"a": 7}


def test_a_long_key_is_cut_in_the_reason() -> None:
    """No refusal carries a payload into the log."""
    error = refusal(payload(attributes={"k" * 60_000: {"__bigint": "x"}}))
    assert error.field == "attributes"
    assert len(str(error)) < 150


def test_a_refusal_fits_on_a_line() -> None:
    """Line breaks and half surrogates of a key are replaced."""
    error = refusal(payload_with("attributes", '{"a\\n\\u0007b":{"__bigint":"x"}}'))
    assert error.reason.isprintable()


def test_encoding_leaves_the_attributes_as_they_are() -> None:
    """The payload of a position holds them byte for byte."""
    position = decode(payload(), latest=LATEST)
    assert position.attributes in encode(position)
    assert unpack_attributes(position.attributes) == {
        **ATTRIBUTES,
        "78": 1152921504606846976,
        "10828": b"\xde\xad\xbe\xef",
    }


def test_a_record_from_the_future_alone_is_refused() -> None:
    """Of a batch what is more than a day ahead of our clock is refused; its neighbours go through."""
    ahead = datetime.now(UTC) + timedelta(days=2)
    times = [record()["timestamp"], ahead.isoformat(), (ahead - timedelta(days=1, minutes=1)).isoformat()]

    decoded = decode_entries((b"%d-0" % at, fields(timestamp=ts)) for at, ts in enumerate(times))

    assert decoded.entry_ids == [b"0-0", b"2-0"]
    [(entry_id, error)] = decoded.refused
    assert (entry_id, error.field) == (b"1-0", "timestamp")
