"""permessage-deflate: what is agreed to, and what becomes of messages."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, strategies as st

from telemetry_app.live.wire.deflate import agree, deflated, inflated

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
SMALL_WINDOW = f"{AGREED}; server_max_window_bits=12"


@pytest.mark.parametrize(
    "offers",
    [
        "permessage-deflate",
        " permessage-deflate ;client_max_window_bits",  # browsers
        "permessage-deflate; client_max_window_bits=8",
        'permessage-deflate; client_max_window_bits="15"',
        "permessage-deflate;server_no_context_takeover;client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate",
        "permessage-deflate; nonsense, permessage-deflate",
        "permessage-deflate; server_max_window_bits=9, permessage-deflate",
    ],
)
def test_offers_that_are_taken(offers: str) -> None:
    """No context on either side, whatever was asked for beside it; the first good offer counts."""
    assert agree(offers) == AGREED


@pytest.mark.parametrize("bits", ["12", "15", '"13"'])
def test_a_window_that_is_large_enough(bits: str) -> None:
    """A client that asks for a small window is promised ours, where that fits in."""
    assert agree(f"permessage-deflate; server_max_window_bits={bits}") == SMALL_WINDOW


@pytest.mark.parametrize(
    "offers",
    [
        "",
        ",",
        "x-webkit-deflate-frame",
        "permessage-deflate-2",
        "permessage-deflate;",
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=11",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=012",
        "permessage-deflate; server_max_window_bits=-12",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=0x9",
        "permessage-deflate; client_max_window_bits=",
        'permessage-deflate; client_max_window_bits="',
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover=",
    ],
)
def test_offers_that_are_declined(offers: str) -> None:
    """A parameter that is unknown, invalid or repeated, or that asks for a smaller window, declines its offer."""
    assert agree(offers) is None


@given(st.text(max_size=300))
def test_offers_of_any_kind(offers: str) -> None:
    """Whatever a client offers, the answer is one of ours."""
    assert agree(offers) in {None, AGREED, SMALL_WINDOW}
    assert agree(f"permessage-deflate; {offers}") in {None, AGREED, SMALL_WINDOW}


@given(st.text(max_size=2000).map(str.encode))
def test_a_message_comes_back(message: bytes) -> None:
    """What was compressed is read by an inflater with our window that has seen nothing before."""
    data = deflated(message)
    assert not data.endswith(b"\0\0\xff\xff")
    assert zlib.decompressobj(-12).decompress(data + b"\0\0\xff\xff") == message
    assert inflated(data, 1_000_000) == message


@pytest.mark.parametrize(
    "data",
    [
        b"\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ],
)
def test_examples_of_the_standard(data: bytes) -> None:
    """RFC 7692, section 7.2.3: one block, one without compression, a final one, and two."""
    assert inflated(data, 100) == b"Hello"


def test_a_bomb_is_not_inflated() -> None:
    """A few kilobytes that stand for megabytes cost no more than what may be read of them."""
    compressor = zlib.compressobj(9, wbits=-15)
    bomb = compressor.compress(bytes(3_000_000)) + compressor.flush()
    assert len(bomb) < 4096
    assert inflated(bomb, 4097) == bytes(4097)
