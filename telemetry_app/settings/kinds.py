"""Kinds of settings: what a variable has to be, and how that is told."""

import getpass
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_settings import NoDecode

from faust_redis.redis.address import SCHEMES as REDIS_SCHEMES, why_unfit
from telemetry_app.postgres_url.url import WELL_FORMED, PostgresUrlError, parse
from telemetry_app.serving.origin import OriginError, canonical_pattern
from telemetry_app.settings.environment import shown

Role = Literal["write", "live"]

#: Origins that a policy can name for frames, in their canonical spelling.
_FRAMING: Final = re.compile(r"https?://(\*\.)?[\w.-]+(:\d+)?", re.ASCII)
#: What stands before the address in an IPv4 address that is written as IPv6: `::ffff:192.0.2.1`.
_MAPPED_BITS: Final = 96


class UnfitError(ValueError):
    """A value is wrong in a way that has more to say than its bound; the text is a clause that follows "but"."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a textual variable has to be, worded to follow "must be"."""

    phrase: str


def _url_of(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in schemes or not url.startswith(f"{parts.scheme}://"):
            raise ValueError("scheme")
        if re.search(r"\s", url) or parts.fragment:
            raise ValueError("blank or fragment")
        return url

    return AfterValidator(check)


def _check_redis_url(url: str) -> str:
    if problem := why_unfit(url):
        raise UnfitError(problem)
    return url


def _check_postgres_url(url: str) -> str:
    try:
        named = parse(url).user or _user_of_this_process()
    except PostgresUrlError as error:
        raise UnfitError(f"must be {error}") from error
    if named is None:
        raise UnfitError("must be a URL that names a user, since this process runs as one without a name")
    return url


def _user_of_this_process() -> str | None:
    """Return whom the database's client signs in as when the URL names nobody; None = nobody, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _check_host(host: str) -> str:
    if ":" in host:
        return str(IPv6Address(host.removeprefix("[").removesuffix("]")))
    if not re.fullmatch(r"[\w.-]+", host):
        raise ValueError("host")
    return host


def _check_base_url(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.query or parts.fragment or parts.port == 0:
        raise ValueError("host")
    return url.rstrip("/")


def _check_page_url(url: str) -> str:
    parts = urlsplit(url)
    is_path = re.match(r"/(?![/\\])", url) is not None
    if re.search(r"[\s\\]", url) or not (is_path or (parts.scheme in {"http", "https"} and parts.hostname)):
        raise ValueError("page")
    return url


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item if item == "*" else _check_origin(item) for item in origins)


def _check_origin(text: str) -> str:
    try:
        return canonical_pattern(text)
    except OriginError as error:
        raise UnfitError(f"must name origins of pages, and {shown(text)} {error}") from error


def _check_embed_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    checked = _check_origins(origins)
    for text, origin in zip(origins, checked, strict=True):
        if origin != "*" and not _FRAMING.fullmatch(origin):
            raise UnfitError(
                f"must name origins of pages, and {shown(text)} must be of http:// or https:// with a host name, "
                "since browsers know no others for frames"
            )
    return checked


def _network(text: str) -> IPv4Network | IPv6Network:
    """Return a network or an address; an IPv4 one that is written as IPv6 is IPv4, as clients are seen."""
    network = ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def _check_networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(_network(text.removeprefix("[").removesuffix("]")) for text in texts)


def _as_written(convert: Callable[[str], object]) -> WrapValidator:
    """Validate `convert(text)`, but report the text as it was written."""

    def validate(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(convert(value) if isinstance(value, str) else value)
        except ValidationError as exc:
            raise ValueError("value") from exc

    return WrapValidator(validate)


def _lower(text: str) -> str:
    return text.strip().lower()


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _blank_is_unset(text: str) -> str | None:
    return text if text.strip() else None


RedisUrl = Annotated[
    str,
    AfterValidator(_check_redis_url),
    Bound(
        f"a well-formed URL that begins with {', '.join(f'{s}://' for s in REDIS_SCHEMES[:-1])} or {REDIS_SCHEMES[-1]}://"
    ),
]
PostgresUrl = Annotated[
    str,
    AfterValidator(_check_postgres_url),
    Bound(WELL_FORMED),
]
BaseUrl = Annotated[
    Annotated[str, _url_of("http", "https"), AfterValidator(_check_base_url)] | None,
    _as_written(_blank_is_unset),
    Bound("unset or a well-formed URL that begins with http:// or https://"),
]
PageUrl = Annotated[
    Annotated[str, AfterValidator(_check_page_url)] | None,
    _as_written(lambda text: text.strip() or None),
    Bound("unset, a URL that begins with http:// or https://, or a path that begins with /"),
]
# Braces would put a hash tag of the operator's into keys that carry one of ours.
KeyName = Annotated[
    str,
    Field(pattern=r"""^[^\s{}"'`]{1,200}$"""),
    Bound("1 to 200 characters without blanks, quotes and braces"),
]
HostName = Annotated[str, AfterValidator(_check_host), Bound("a host name or an address to listen on")]
Path = Annotated[
    str,
    # The map has `/` and its files, which have a dot.
    Field(pattern=r"^/[^\s?#{}.]+$"),
    Bound("a path that begins with / and goes on without blank, ?, #, dot or brace"),
]
Roles = Annotated[
    frozenset[Role],
    NoDecode,
    _as_written(lambda text: _split(text.lower())),
    Field(min_length=1),
    Bound("write, live or write,live"),
]
Origins = Annotated[
    tuple[str, ...],
    NoDecode,
    _as_written(_split),
    AfterValidator(_check_origins),
    Bound(
        "empty, * or a comma separated list of origins such as https://maps.example.org, https://*.example.org, "
        "capacitor://localhost or null"
    ),
]
EmbedOrigins = Annotated[
    tuple[str, ...],
    NoDecode,
    _as_written(_split),
    AfterValidator(_check_embed_origins),
    Bound("empty, * or a comma separated list of origins such as https://www.example.org or https://*.example.org"),
]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
FieldName = Annotated[_Name | None, _as_written(_blank_is_unset), Bound("empty or the name of a field")]
FieldNames = Annotated[
    tuple[_Name, ...],
    NoDecode,
    _as_written(_split),
    Field(max_length=16),
    Bound("empty or a comma separated list of up to 16 names of fields"),
]
FilePath = Annotated[
    Annotated[str, Field(max_length=4096)] | None, _as_written(_blank_is_unset), Bound("unset or the path of a file")
]
Proxies = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    NoDecode,
    _as_written(lambda text: _check_networks(tuple(_split(text)))),
    Bound("empty or a comma separated list of addresses and networks such as 10.0.0.0/8"),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    _as_written(_lower),
    Bound("debug, info, warning, error or critical"),
]
LogFormat = Annotated[Literal["json", "pretty"], _as_written(_lower), Bound("json or pretty")]
Pooler = Annotated[
    Literal["auto", "session", "transaction"], _as_written(_lower), Bound("auto, session or transaction")
]
Producer = Annotated[Literal["single", "sharded"], _as_written(_lower), Bound("single or sharded")]
StreamRetention = Annotated[
    str,
    _as_written(_lower),
    Field(pattern=r"^(none|[1-9]\d{0,11}[smhdw]?)$"),
    Bound("none, a number of records, or a duration such as 90s, 30m, 6h, 7d or 2w"),
]
LiveAuth = Annotated[Literal["directus", "none"], _as_written(_lower), Bound("directus or none")]
Port = Annotated[int, Field(ge=0, le=65535)]
Flag = Annotated[bool, Bound("true or false")]
