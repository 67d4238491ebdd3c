"""What an address to listen on means."""

import socket
from contextlib import closing

import pytest

from telemetry_app.cli.findings.ports import look_at_ports
from telemetry_app.operations.addresses import host_to_ask, listened_hosts, shown
from telemetry_app.settings import load_settings

EVERY_IPV4 = "0.0.0.0"  # noqa: S104 - nothing is bound


@pytest.mark.parametrize(
    ("host", "listened", "asked", "url"),
    [
        (EVERY_IPV4, (EVERY_IPV4,), "127.0.0.1", f"{EVERY_IPV4}:1"),
        ("::", ("::", EVERY_IPV4), "127.0.0.1", "[::]:1"),
        ("0:0::0", ("0:0::0", EVERY_IPV4), "127.0.0.1", "[0:0::0]:1"),
        ("::1", ("::1",), "::1", "[::1]:1"),
        ("fe80::1%eth0", ("fe80::1%eth0",), "fe80::1%eth0", "[fe80::1%eth0]:1"),
        ("192.0.2.1", ("192.0.2.1",), "192.0.2.1", "192.0.2.1:1"),
        ("metrics.example.org", ("metrics.example.org",), "metrics.example.org", "metrics.example.org:1"),
    ],
)
def test_addresses(host: str, listened: tuple[str, ...], asked: str, url: str) -> None:
    """`::` is listened on for both families; each host has one address to ask and one spelling in a URL."""
    assert (listened_hosts(host), host_to_ask(host), shown(host, 1)) == (listened, asked, url)


async def test_check_looks_at_both_families() -> None:
    """A port that another program has on IPv4 alone is not free for `::`."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        settings = load_settings(metrics_host="::", metrics_port=port, roles="write", postgres_url="postgresql://u@h/d")
        (found,) = [finding async for finding in look_at_ports(settings)]
    assert (found.name, found.ok) == ("METRICS_PORT", False)
