"""What holds for every input of the codec, valid or not."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

from hypothesis import HealthCheck, example, given, settings, strategies as st

from telemetry_app.records.codec import (
    EARLIEST,
    CodecError,
    decode,
    decode_entry,
    encode,
    inspect,
    pack_attributes,
    read_entry,
    storable_attributes,
    storable_attributes_of,
    unpack_attributes,
)
from telemetry_app.records.decoding import decode_entries
from telemetry_app.records.position import Position
from tests.support.records import LATEST, payload, payload_with, record

thorough = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])

SENTINELS = ("__bigint", "__buffer_b64")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = st.one_of(st.integers(0, 11_000).map(str), texts)
floats = st.floats(allow_nan=False, allow_infinity=False)
smallints = st.integers(-(2**15), 2**15 - 1)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**80), 2**80), floats, texts, st.binary(max_size=40))


def looks_like_a_sentinel(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in SENTINELS


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(keys, children, max_size=4).filter(lambda value: not looks_like_a_sentinel(value))
    return st.one_of(st.lists(children, max_size=4), objects)


values = st.recursive(scalars, containers, max_leaves=12)
attributes = st.dictionaries(keys, values, max_size=6).filter(lambda value: not looks_like_a_sentinel(value))
timestamps = st.datetimes(EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None), timezones=st.just(UTC))
positions = st.builds(
    Position,
    device_id=texts.filter(bool),
    ts=timestamps,
    latitude=st.floats(-90, 90),
    longitude=st.floats(-180, 180),
    altitude=floats,
    angle=floats,
    speed=floats,
    satellites=smallints,
    priority=smallints,
    attributes=attributes.map(pack_attributes),
    codec=st.one_of(st.none(), texts),
)

# JSON as nobody would write it, sentinels that are none included.
odd_text = st.one_of(texts, st.text(max_size=4), st.sampled_from(["5", "-0", "007", "AB==", "QUI=", "3q2+7w", "1e5"]))
odd_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), odd_text)
odd_json = st.recursive(
    odd_scalars,
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.dictionaries(st.one_of(odd_text, st.sampled_from([*SENTINELS, *record()])), children, max_size=4),
        st.sampled_from(SENTINELS).flatmap(lambda name: st.fixed_dictionaries({name: children})),
    ),
    max_leaves=16,
)
# Attributes as they are spelled, with the numbers and strings that looking at many objects at once has to tell apart.
spelled_values = st.one_of(
    st.integers(0, 99_999).map(str),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "-", "0.", "1."]),
        st.sampled_from([30, 271, 299, 300, 309, 310, 5000]).map("9".__mul__),
        st.sampled_from(["", "", "e1"]),
    ),
    st.sampled_from(["8" * 308 + ".5", "8" * 309 + ".5", "-" + "1" * 310 + ".5"]),
    st.from_regex(r"-?[1-9][0-9]{0,2}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r'"[0-9eEx_b]{0,6}"', fullmatch=True),
    st.sampled_from(
        [
            *(['"\\ud800"', '"\\ud83d\\ude00"', '"\\n"', '"__b"', '"__bigint"', "true", "false", "null", "{}", "[]"]),
            *(f'{{"__bigint":"{content}"}}' for content in ("5", "-0", "007", "1e5", "E9", "", "9" * 600, "9" * 5000)),
            *(f'{{"__buffer_b64":"{content}"}}' for content in ("", "QUI=", "AB==", "E9e9", "A" * 68, "A" * 67)),
            '{ "__bigint":"5"}',
            '{"\\u005f_bigint":"x"}',
        ]
    ),
)
spelled_attributes = st.one_of(
    st.lists(spelled_values, max_size=20).map(
        lambda found: "{" + ",".join(f'"{key}":{value}' for key, value in enumerate(found)) + "}"
    ),
    spelled_values,
)
FRAGMENTS = (
    *(b'{ } [ ] " \\ \\u \\ud800 \\udc00 \\u005f , : - . 0 e9 E9 e999 NaN Infinity null true'.split()),
    b'{"__bigint":"5"}',
    b'{"__bigint" : "-007"}',
    b'{"__bigint":5}',
    b'{"__bigint":"1","x":2}',
    b'{"\\u005f_bigint":"5"}',
    b'{"__buffer_b64":"AB=="}',
    b'{"__buffer_b64":"ABC"}',
    b'"__b',
    b"9" * 400,
    b"9" * 5000,
    b"[" * 40,
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
)


def outcome(read: Callable[[], Position]) -> Position | CodecError:
    try:
        return read()
    except CodecError as error:
        return error


def accept_or_refuse(read: Callable[[], Position]) -> Position | CodecError:
    """Assert that `read` gives a position with which everything works, or says what is wrong."""
    result = outcome(read)
    if isinstance(result, CodecError):
        assert result.field
        assert result.reason
        assert len(str(result)) <= 300
        assert str(result).isprintable()
        return result
    values = unpack_attributes(result.attributes)
    assert unpack_attributes(pack_attributes(values)) == values
    stored = json.loads(storable_attributes(result.attributes))
    assert stored == reference(json.loads(result.attributes))
    assert decode(encode(result), latest=LATEST, codec=result.codec) == result
    return result


def reference(value: Any) -> Any:
    """What is stored for JSON that was read by the standard library: slow, and plain to see."""
    if isinstance(value, list):
        return [reference(element) for element in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["__bigint"]:
        return str(int(value["__bigint"]))
    if list(value) == ["__buffer_b64"]:
        assert base64.b64decode(value["__buffer_b64"], validate=True) is not None
        return value["__buffer_b64"]
    return {key: reference(member) for key, member in value.items()}


def reference_of_values(value: Any) -> Any:
    """What is stored for Python values that were packed."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: reference_of_values(member) for key, member in value.items()}
    if isinstance(value, list):
        return [reference_of_values(element) for element in value]
    if type(value) is int and abs(value) > 2**53:
        return str(value)
    return value


@thorough
@given(positions)
def test_decoding_reverses_encoding(position: Position) -> None:
    """Every valid position comes back as it was, and is one with which everything works."""
    assert decode(encode(position), latest=LATEST, codec=position.codec) == position
    accept_or_refuse(lambda: decode(encode(position), latest=LATEST, codec=position.codec))


@thorough
@given(attributes)
def test_unpacking_reverses_packing(values: dict[str, Any]) -> None:
    """Integers of any size and bytes at any depth survive the wire."""
    assert unpack_attributes(pack_attributes(values)) == values


@thorough
@given(attributes)
def test_the_stored_form_is_that_of_the_reference(values: dict[str, Any]) -> None:
    """Whatever was packed is stored as the slow reference says."""
    raw = decode(payload_with("attributes", pack_attributes(values)), latest=LATEST).attributes
    assert json.loads(storable_attributes(raw)) == reference_of_values(values)


@thorough
@given(attributes, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
def test_spelling_does_not_matter(values: dict[str, Any], ascii_only: bool, separators: tuple[str, str]) -> None:  # noqa: FBT001 - hypothesis chooses
    """Blanks, escapes and the order of nothing else change what the attributes mean."""
    wire = json.loads(pack_attributes(values))
    spelled = json.dumps(wire, ensure_ascii=ascii_only, separators=separators).encode()
    raw = decode(payload_with("attributes", spelled), latest=LATEST).attributes
    assert unpack_attributes(raw) == values
    assert json.loads(storable_attributes(raw)) == reference_of_values(values)


@thorough
@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    """Bytes without meaning are refused in the one way there is."""
    accept_or_refuse(lambda: decode(raw, latest=LATEST))


@thorough
@given(odd_json)
def test_any_json(value: Any) -> None:
    """So is any JSON, and what only Python calls JSON."""
    accept_or_refuse(lambda: decode(json.dumps(value).encode(), latest=LATEST))


@thorough
@given(st.sampled_from(list(record())), odd_json)
def test_any_value_of_a_field(field: str, value: Any) -> None:
    """A record that is valid but for one field is refused by the name of that field, if at all."""
    raw = payload_with(field, json.dumps(value))
    result = accept_or_refuse(lambda: decode(raw, latest=LATEST))
    assert getattr(result, "field", field) == field


@thorough
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 6), st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=3))),
        min_size=1,
        max_size=4,
    )
)
def test_mutated_payloads(changes: list[tuple[int, int, bytes]]) -> None:
    """A valid payload with pieces of it replaced is refused, or still good throughout."""
    raw = bytearray(payload())
    for begin, length, piece in changes:
        raw[begin : begin + length] = piece
    accept_or_refuse(lambda: decode(bytes(raw), latest=LATEST))


@thorough
@given(
    st.lists(
        st.one_of(
            st.sampled_from([b"payload", b"codec", b"ts", payload(), payload(latitude=91)]), st.binary(max_size=20)
        ),
        max_size=9,
    )
)
def test_any_list_of_entry_fields(fields: list[bytes]) -> None:
    """Names twice, names without a value, values that are names: a position or a refusal."""
    accept_or_refuse(lambda: decode_entry(fields, latest=LATEST))


@thorough
@given(st.datetimes(timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))))
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
@example(datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-14))))
@example(EARLIEST.astimezone(timezone(timedelta(hours=14))))
@example(LATEST.astimezone(timezone(timedelta(hours=-14))))
def test_any_timestamp(ts: datetime) -> None:
    """Of every zone and year, those within the bounds are accepted, as the same moment in UTC."""
    result = accept_or_refuse(lambda: decode(payload(timestamp=ts.isoformat()), latest=LATEST))
    if EARLIEST <= ts <= LATEST:
        assert isinstance(result, Position)
        assert (result.ts, result.ts.tzinfo) == (ts, UTC)
    else:
        assert isinstance(result, CodecError)
        assert result.field == "timestamp"


@thorough
@given(
    st.lists(
        st.one_of(
            spelled_attributes,
            odd_json.map(json.dumps),
            attributes.map(lambda values: pack_attributes(values).decode()),
        ),
        max_size=6,
    ),
    st.lists(
        st.sampled_from(["1999-12-31T23:59:59.999999Z", "2000-01-01T02:00:00+02:00", "0001-01-01T00:00:00+14:00"])
    ),
)
def test_a_batch_is_decoded_as_its_entries_are(spellings: list[str], times: list[str]) -> None:
    """Whatever is looked at for all entries together: each has the outcome that it has alone."""
    payloads = [payload_with("attributes", spelling) for spelling in spellings]
    for at, ts in zip(range(0, len(payloads), 2), times, strict=False):
        payloads[at] = payloads[at].replace(record()["timestamp"].encode(), ts.encode())
    entries = [(b"1-%d" % number, [b"payload", raw]) for number, raw in enumerate(payloads)]
    alone = [(entry_id, outcome(partial(decode_entry, fields, latest=LATEST))) for entry_id, fields in entries]
    accepted = [(entry_id, result) for entry_id, result in alone if isinstance(result, Position)]
    refused = [(entry_id, str(result)) for entry_id, result in alone if isinstance(result, CodecError)]
    decoded = decode_entries(entries)
    assert list(zip(decoded.entry_ids, decoded.positions, strict=True)) == accepted
    assert sorted((entry_id, str(error)) for entry_id, error in decoded.refused) == sorted(refused)
    assert decoded.positions.times == [position.ts.timestamp() for position in decoded.positions]
    raws = [position.attributes for position in decoded.positions]
    one_by_one = [storable_attributes(raw) for raw in raws]
    assert storable_attributes_of(raws) == storable_attributes_of(raws, decoded.positions.storable) == one_by_one


def can_be_unpacked(raw: bytes) -> bool:
    try:
        unpack_attributes(raw)
    except CodecError:
        return False
    return True


@thorough
@given(st.lists(spelled_attributes, max_size=8))
def test_only_what_is_in_doubt_is_looked_at_alone(spellings: list[str]) -> None:
    """An object is in doubt for what is in it, not for its neighbours; what is not in doubt can be unpacked."""
    payloads = [payload_with("attributes", spelling) for spelling in spellings]
    read = [outcome(partial(read_entry, [b"payload", raw])) for raw in payloads]
    raws = [result.attributes for result in read if isinstance(result, Position)]
    doubtful = inspect(raws).doubtful
    assert doubtful == [index for index, raw in enumerate(raws) if inspect([raw]).doubtful]
    assert {index for index, raw in enumerate(raws) if not can_be_unpacked(raw)} <= set(doubtful)
