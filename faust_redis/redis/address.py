"""Where Redis is: URLs of a server, a socket, a cluster or sentinels, and what may stand in them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from faust_redis.redis.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Each has a relative with TLS.
SCHEMES: Final = (
    "redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel",
)  # fmt: skip
#: A read blocks for up to a second: a connection may not be taken for lost before that.
LEAST_SOCKET_TIMEOUT_S: Final = 2.0
#: Reading, renewing leases, committing and sampling go on at once.
LEAST_CONNECTIONS: Final = 10

_SENTINEL_PORT: Final = 26379
_HOST: Final = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:\[\],@]+)(?::(?P<port>[0-9]{1,5}))?")
_PARTS: Final = re.compile(r"([^/?#]*)([^?]*)(.*)", re.DOTALL)
_FLAGS: Final = {"true", "false", "yes", "no", "1", "0"}


def _number(least: float) -> Callable[[str], str | None]:
    def problem(text: str) -> str | None:
        try:
            fits = least <= float(text) < math.inf
        except ValueError:
            fits = False
        return None if fits else f"must be a number of at least {least:g}"

    return problem


def _whole(least: int) -> Callable[[str], str | None]:
    bound = f"must be a whole number of at least {least}"
    return lambda text: None if text.isdecimal() and int(text) >= least else bound


def _one_of(*values: str) -> Callable[[str], str | None]:
    return lambda text: None if text.lower() in values else f"must be {', '.join(sorted(values))}"


def _file(text: str) -> str | None:
    return None if Path(text).exists() else "must be a file that is there"


def _any(_text: str) -> None:
    return None


#: What may be set, and how its value is looked at. Others would change what the client answers with, or how it
#: repeats commands, which the transport relies on.
_OPTIONS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "username": _any,
    "password": _any,
    "client_name": _any,
    "db": _whole(0),
    "protocol": _one_of("2", "3"),
    "socket_timeout": _number(LEAST_SOCKET_TIMEOUT_S),
    "socket_connect_timeout": _number(0.1),
    "socket_keepalive": _one_of(*_FLAGS),
    "health_check_interval": _whole(0),
    "max_connections": _whole(LEAST_CONNECTIONS),
}
_TLS_OPTIONS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_check_hostname": _one_of(*_FLAGS),
    "ssl_ca_certs": _file,
    "ssl_ca_path": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_password": _any,
    "ssl_ciphers": _any,
}
#: `sentinel` adds one more: Faust takes a comma for the end of a URL.
_SENTINEL_OPTIONS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "sentinel": lambda text: None if _host_and_port(text) else "must be host:port",
    "sentinel_username": _any,
    "sentinel_password": _any,
}


class Sentinels(NamedTuple):
    """Where sentinels are, and whom to ask them for.

    Attributes:
        hosts: Host and port of each.
        service: The name under which they know the master.
        login: User name and password for the sentinels themselves, as the client's arguments.
        url: The master's user, password, database and options, with the first sentinel in the place of its host.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str
    login: Mapping[str, str]
    url: str


def why_unfit(url: str) -> str | None:
    """Return None for a URL that the transport can use, else a clause that follows "but"."""
    try:
        parts = urlsplit(one_host(url))
        problem = _why_not_formed(url, parts)
    except ValueError:
        problem = "must be a well-formed URL"
    return problem or _why_not_option(parts)


def refuse(url: str) -> None:
    """Refuse a URL that cannot work.

    Raises:
        Misconfigured: In one sentence, without the URL.
    """
    if problem := why_unfit(url):
        raise Misconfigured(f"the URL of Redis {problem}")


def one_host(url: str) -> str:
    """Return a URL without commas and semicolons, at which Faust would cut it, that means the same."""
    scheme, separator, rest = url.partition("://")
    authority, path, query = _split(rest)
    user, at, hosts = authority.rpartition("@")
    user = user.replace(",", "%2C").replace(";", "%3B")
    if not scheme.endswith("+sentinel"):
        return f"{scheme}{separator}{user}{at}{hosts}{path}{query}"
    first, *others = hosts.split(",")
    options = urlencode([*parse_qsl(query[1:], keep_blank_values=True), *(("sentinel", host) for host in others)])
    return f"{scheme}{separator}{user}{at}{first}{path}{'?' if options else ''}{options}"


def _split(rest: str) -> tuple[str, str, str]:
    """Return authority, path and query of what follows a scheme, which urlsplit would not for several hosts."""
    authority, path, query = _PARTS.fullmatch(rest).groups()  # type: ignore[union-attr]  # fits every text
    return authority, path, query


def parse_sentinels(url: str) -> Sentinels:
    """Return what a URL of sentinels says."""
    parts = urlsplit(one_host(url))
    options = parse_qsl(parts.query)
    user, at, first = parts.netloc.rpartition("@")
    _, service, *db = parts.path.split("/")
    named = (_host_and_port(host) for host in (first, *(value for name, value in options if name == "sentinel")))
    data = parts._replace(
        scheme=parts.scheme.removesuffix("+sentinel"),
        netloc=f"{user}{at}{first}",
        path=f"/{''.join(db)}",
        query=urlencode([(name, value) for name, value in options if name not in _SENTINEL_OPTIONS]),
    )
    login = {name.removeprefix("sentinel_"): value for name, value in options if name.startswith("sentinel_")}
    return Sentinels(tuple(host for host in named if host), unquote(service), login, data.geturl())


def _host_and_port(text: str) -> tuple[str, int] | None:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < (port := int(match["port"] or _SENTINEL_PORT)) < 2**16:
        return None
    return match["host"].strip("[]"), port


def _why_not_formed(url: str, parts: SplitResult) -> str | None:
    known = ", ".join(f"{scheme}://" for scheme in SCHEMES[:-1])
    # Faust gives a socket's URL back with one slash.
    if parts.scheme not in SCHEMES or not url.startswith((f"{parts.scheme}://", "unix:/")):
        return f"must be a well-formed URL that begins with {known} or {SCHEMES[-1]}://"
    if re.search(r"\s", url) or parts.fragment or (parts.scheme != "unix" and "@" in parts.path):
        return "must be a well-formed URL: write blanks, # and / of a password as %20, %23 and %2F"
    if parts.scheme == "unix":
        return None if parts.path else "must be a well-formed URL: there is no path of the socket in it"
    return _why_not_sentinels(url, parts) if parts.scheme.endswith("+sentinel") else _why_not_server(parts)


def _why_not_server(parts: SplitResult) -> str | None:
    # Only reading it makes urlsplit look at the port.
    if parts.port == 0 or "," in parts.netloc.rpartition("@")[2]:
        return "must be a well-formed URL with one host, and a port above 0"
    if not re.fullmatch(r"/?[0-9]*", parts.path):
        return "must be a well-formed URL: its path is the number of a database"
    if parts.scheme.endswith("+cluster") and parts.path.strip("/0"):
        return "must be without a database, since a cluster has none but 0"
    return None


def _why_not_sentinels(url: str, parts: SplitResult) -> str | None:
    authority, _, _ = _split(url.partition("://")[2])
    if not all(_host_and_port(host) for host in authority.rpartition("@")[2].split(",")):
        return "must be a well-formed URL with host:port of each sentinel, commas between"
    if not re.fullmatch(r"/[^/]+(/[0-9]*)?", parts.path):
        return "must be a well-formed URL with the name of the master as its path, as in redis+sentinel://host/mymaster"
    return None


def _why_not_option(parts: SplitResult) -> str | None:
    known = {
        **_OPTIONS,
        **(_TLS_OPTIONS if parts.scheme.startswith("rediss") else {}),
        **(_SENTINEL_OPTIONS if parts.scheme.endswith("+sentinel") else {}),
    }
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            return f"must be without the option {name}, which is not one of {', '.join(known)}"
        if problem := known[name](value):
            return f"must have another option {name}, which {problem}"
    return None
