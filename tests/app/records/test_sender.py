"""Whose record an entry is, however odd the entry."""

import json

import pytest

from telemetry_app.records.sender import sender_of
from tests.support import records

DEVICE = b"356307042441013"
USUAL = [b"ts", b"2026-05-02T12:00:00.000Z", b"device_id", b"1", b"codec", b"8E", b"payload", records.payload()]


@pytest.mark.parametrize(
    ("fields", "sender"),
    [
        pytest.param(USUAL, b"1", id="the field goes before the payload"),
        pytest.param([b"device_id", b"1"], b"1", id="no payload"),
        pytest.param([b"device_id", b"1", b"device_id", b"2"], b"2", id="of two fields the last counts"),
        pytest.param([*USUAL[:6], b"device_id", b"2"], b"2", id="of two fields the last counts, usual length"),
        pytest.param([b"device_id", b"\xff\xfe"], b"\xff\xfe", id="any bytes"),
        pytest.param([b"codec", b"8E", b"payload", records.payload()], DEVICE, id="no field"),
        pytest.param([*USUAL[:3], b"", *USUAL[4:]], DEVICE, id="empty field"),
        pytest.param([b"payload", records.payload(device_id="ä")], "ä".encode(), id="not ASCII"),
        pytest.param([b"payload", b'{"device_id":"1","x":' + b"[" * 200_000], b"", id="nested without end"),
        pytest.param([b"payload", b'{"device_id":"\\ud800"}'], b"", id="half a character"),
        pytest.param([b"payload", json.dumps({"device_id": ""}).encode()], b"", id="empty in the payload"),
        pytest.param([b"payload", json.dumps({"device_id": 1}).encode()], b"", id="a number in the payload"),
        pytest.param([b"payload", b"junk"], b"", id="not JSON"),
        pytest.param([b"payload", b"\xff"], b"", id="not text"),
        pytest.param([b"codec", b"8E"], b"", id="neither"),
    ],
)
def test_sender(fields: list[bytes], sender: bytes) -> None:
    """The field says it, else the payload, else nobody."""
    assert sender_of(fields) == sender
