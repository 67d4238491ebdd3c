"""Who a client is behind proxies, and what its address counts as."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from telemetry_app.live.http.proxies import TrustedProxies
from telemetry_app.serving.address import counted_as

PROXIES = ("10.0.0.0/8", "192.168.1.1", "2001:db8:0:1::/64")


def client(peer: str, *forwarded: str, trusted: tuple[str, ...] = PROXIES) -> str:
    """Return the client of a request that comes from a peer with these headers."""
    headers = CIMultiDict([("X-Forwarded-For", header) for header in forwarded])
    request = make_mocked_request("GET", "/live", headers=headers).clone(remote=peer)
    return TrustedProxies(tuple(map(ip_network, trusted))).client_of(request)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param("203.0.113.5", (), "203.0.113.5", id="no proxy"),
        pytest.param("203.0.113.5", ("192.0.2.9",), "203.0.113.5", id="a stranger's word"),
        pytest.param("10.0.0.1", (), "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("10.0.0.1", ("192.0.2.9",), "192.0.2.9", id="a proxy"),
        pytest.param("10.0.0.1", ("198.51.100.1, 192.0.2.9",), "192.0.2.9", id="made up by the client"),
        pytest.param("10.0.0.1", ("198.51.100.1", "192.0.2.9"), "192.0.2.9", id="made up, in a header of its own"),
        pytest.param("10.0.0.1", ("192.0.2.9, 192.168.1.1,10.9.9.9",), "192.0.2.9", id="three proxies"),
        pytest.param("10.0.0.1", ("192.0.2.9", "192.168.1.1"), "192.0.2.9", id="two proxies, two headers"),
        pytest.param("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3", id="a client beside the proxies"),
        pytest.param("10.0.0.1", ("192.0.2.9, unknown",), "10.0.0.1", id="an entry that is no address"),
        pytest.param("10.0.0.1", ("192.0.2.9, , 10.0.0.2",), "10.0.0.2", id="an empty entry"),
        pytest.param("10.0.0.1", ("192.0.2.9, 999.1.1.1",), "10.0.0.1", id="no address of IPv4"),
        pytest.param("10.0.0.1", ("192.0.2.9, 10.0.0.2%eth0",), "10.0.0.1", id="a zone of IPv4"),
        pytest.param("10.0.0.1", ("",), "10.0.0.1", id="an empty header"),
        pytest.param("10.0.0.1", ("192.0.2.9:4711",), "192.0.2.9", id="a port"),
        pytest.param("10.0.0.1", ("[2001:db8:9::1]:4711",), "2001:db8:9::1", id="a port of IPv6"),
        pytest.param("10.0.0.1", ("[2001:db8:9::1]",), "2001:db8:9::1", id="brackets"),
        pytest.param("10.0.0.1", ("2001:DB8:9:0::1",), "2001:db8:9::1", id="IPv6 in another spelling"),
        pytest.param("2001:db8:0:1::7", ("192.0.2.9",), "192.0.2.9", id="a proxy of IPv6"),
        pytest.param("2001:db8:0:2::7", ("192.0.2.9",), "2001:db8:0:2::7", id="beside its network"),
        pytest.param("::ffff:10.0.0.1", ("::ffff:192.0.2.9",), "192.0.2.9", id="IPv4 written as IPv6"),
        pytest.param("fe80::1%eth0", (), "fe80::1", id="an address of a link"),
        pytest.param("", ("192.0.2.9",), "unknown", id="has left"),
    ],
)
def test_client(peer: str, forwarded: tuple[str, ...], expected: str) -> None:
    """The client is the first from the right that is not a trusted proxy; what is no address ends the walk."""
    assert client(peer, *forwarded) == expected


def test_nobody_is_trusted_by_default() -> None:
    """Without trusted proxies the peer is the client; with everybody trusted, the leftmost entry is."""
    assert client("10.0.0.1", "192.0.2.9", trusted=()) == "10.0.0.1"
    everybody = ("0.0.0.0/0", "::/0")
    assert client("10.0.0.1", "192.0.2.9, 192.0.2.8", trusted=everybody) == "192.0.2.9"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.9", "192.0.2.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
    ],
)
def test_counted_as(address: str, counted: str) -> None:
    """Addresses of IPv4 count each for itself, those of IPv6 by their /64."""
    assert counted_as(address) == counted


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("192.0.2.9", "192.0.2.9"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
        ("2001:db8:9:9:1::2", "2001:db8:9:9::/64"),
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("2001:db8:0:1::2", None),
        ("a socket's path", None),
    ],
)
def test_peers(peer: str, counted: str | None) -> None:
    """Connections of a peer count together, but for those of a trusted proxy, which are its clients'."""
    assert TrustedProxies(tuple(map(ip_network, PROXIES))).peer_of(peer) == counted


def test_a_proxy_that_is_not_trusted_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the setting once for each peer, and no more than ten peers."""
    proxies = TrustedProxies(())
    with caplog.at_level(logging.WARNING):
        for n in range(40):
            request = make_mocked_request("GET", "/live", headers=CIMultiDict({"X-Forwarded-For": "192.0.2.9"}))
            proxies.client_of(request.clone(remote=f"10.0.0.{n // 2}"))
    assert len(caplog.messages) == 10
    assert "10.0.0.3 sends X-Forwarded-For" in caplog.messages[3]
    assert "LIVE_TRUSTED_PROXIES" in caplog.messages[3]
