"""URLs of Redis: what each form means, and what the transport cannot work with."""

import re

import pytest

from faust_redis import App, Misconfigured
from faust_redis.redis.address import one_host, parse_sentinels, refuse
from faust_redis.redis.client import close, connect
from tests.conftest import PROJECT

SENTINELS = "redis+sentinel://u:a%2Fb,c@one:1,[::1]:2,three/main/3?sentinel_password=w&protocol=3"


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h/",
        "redis://:p@h:1/0?socket_timeout=2&max_connections=10&health_check_interval=5&client_name=x&protocol=2",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false",
        "unix:///run/redis.sock?db=1",
        "unix://u:p@/run/redis@1.sock",
        "redis+cluster://h:7000",
        "redis+sentinel://h/main",
        SENTINELS,
    ],
)
async def test_urls_that_can_be_used(url: str) -> None:
    """A client can be made of each, and the form without commas means the same."""
    refuse(url)
    assert one_host(one_host(url)) == one_host(url)
    refuse(one_host(url))
    await close(connect(url))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h", "begins with redis://"),
        ("redis:/h", "begins with redis://"),
        ("redis://h:0", "a port above 0"),
        ("redis://h:x", "well-formed"),
        ("redis://a,b", "one host"),
        ("redis+cluster://h/1", "without a database"),
        ("redis+sentinel://h", "name of the master"),
        ("redis+sentinel://h/main/x", "name of the master"),
        ("redis+sentinel://h:0/main", "host:port of each sentinel"),
        ("redis+sentinel://h,/main", "host:port of each sentinel"),
        ("redis+sentinel://h/main?sentinel=:x", "option sentinel"),
        ("redis://h?decode_responses=true", "without the option decode_responses"),
        ("redis://h?encoding=latin-1", "without the option encoding"),
        ("redis://h?retry_on_error=x", "without the option retry_on_error"),
        ("redis://h?socket_timeout=0.05", "option socket_timeout, which must be a number of at least 2"),
        ("redis://h?socket_timeout=nan", "option socket_timeout"),
        ("redis://h?socket_connect_timeout=0", "option socket_connect_timeout"),
        ("redis://h?max_connections=5", "option max_connections, which must be a whole number of at least 10"),
        ("redis://h?health_check_interval=1.5", "option health_check_interval"),
        ("redis://h?protocol=4", "option protocol, which must be 2, 3"),
        ("redis://h?db=a", "option db"),
        ("redis://h?ssl_cert_reqs=none", "without the option ssl_cert_reqs"),
        ("rediss://h?ssl_cert_reqs=maybe", "option ssl_cert_reqs, which must be none, optional, required"),
        ("rediss://h?ssl_ca_certs=/nowhere.pem", "option ssl_ca_certs, which must be a file that is there"),
    ],
)
def test_urls_that_cannot_work_are_refused(url: str, why: str) -> None:
    """Each is refused with what is wrong with it when the client would be made."""
    with pytest.raises(Misconfigured, match=why):
        connect(url)


def test_sentinels() -> None:
    """A URL of sentinels holds them, the name of the master, and two logins."""
    found = parse_sentinels(SENTINELS)
    assert found.hosts == (("one", 1), ("::1", 2), ("three", 26379))
    assert (found.service, found.login) == ("main", {"password": "w"})
    assert found.url == "redis://u:a%2Fb%2Cc@one:1/3?protocol=3"
    assert parse_sentinels(one_host(SENTINELS)) == found


@pytest.mark.parametrize("url", [SENTINELS, "redis://:a,b;c@h:1/2", "rediss+sentinel://a,b/main"])
def test_faust_keeps_the_url(url: str) -> None:
    """Faust, which cuts URLs at commas, hands the transport one that means the same."""
    [broker] = App("a", broker=url).conf.broker
    assert str(broker).count("://") == 1
    if "sentinel" in url:
        assert parse_sentinels(str(broker)) == parse_sentinels(url)
    else:
        assert broker.password == "a,b;c"


def test_the_handbook_writes_a_url_of_sentinels() -> None:
    """What docs/operations.md shows as one is one."""
    [shown] = re.findall(r"`(redis\+sentinel://[^`]+mymaster[^`]+)`", (PROJECT / "docs" / "operations.md").read_text())
    assert len(parse_sentinels(shown).hosts) == 3
    refuse(shown)
