"""Reading a connection string: `postgresql://user:password@host:port,host:port/database?option=value`."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from telemetry_app.postgres_url.options import OPTIONS, OWN_SETTINGS, SESSION_SETTINGS, Handling, Option

SCHEMES: Final = ("postgresql", "postgres")
WELL_FORMED: Final = "a well-formed URL that begins with postgresql:// or postgres://"

_HOST: Final = re.compile(r"(?:\[(?P<v6>[\w:.%]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:]*))?")
_DEFAULT_PORT: Final = 5432
_HIGHEST_PORT: Final = 65535
#: A name that is longer is cut in a message: it may be a pasted secret.
_LONGEST_NAME: Final = 40
#: A setting's value stands in a statement: only what cannot end a quoted text, nor change how it is read.
_SETTING_VALUE: Final = re.compile(r"[\w $\",.:+-]*")
_SETTING: Final = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
_VERIFYING: Final = ("verify-ca", "verify-full")


class PostgresUrlError(ValueError):
    """The connection string cannot be meant; the text says what it must be, worded to follow "must be"."""


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """What a connection string means.

    Attributes:
        hosts: Names, addresses, or folders of unix sockets, in the order to be tried; empty = the client's default.
        ports: One for each host; empty = the client's default.
        user: None = the client's default, as are the next two.
        password: Never shown.
        database: Its name.
        client: Options that the client library understands.
        startup: Parameters sent with the first message of a session.
        session: Settings to be made in each session.
        connect_timeout_s: How long an attempt to connect may take; None = not said.
        transaction_pooler: Whether it says that a pooler in transaction mode is behind it.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    user: str | None
    password: str | None
    database: str | None
    client: Mapping[str, str]
    startup: Mapping[str, str]
    session: Mapping[str, str]
    connect_timeout_s: float | None
    transaction_pooler: bool

    def __repr__(self) -> str:
        return f"PostgresUrl(hosts={self.hosts}, ports={self.ports}, database={self.database})"


def parse(url: str) -> PostgresUrl:
    """Read a connection string.

    Raises:
        PostgresUrlError: It is not well-formed, or has an option that is unknown or cannot have its value.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in SCHEMES or not separator or re.search(r"\s", url):
        raise PostgresUrlError(WELL_FORMED)
    if "%00" in url or "\0" in url:
        raise PostgresUrlError("a URL without %00")
    credentials, hosts, path, query = _split(rest)
    options = dict(_options(query))
    user, has_password, password = credentials.partition(":")
    host = options.get("host")
    endpoints = list(_endpoints(hosts, quoted=True))
    port = options.get("port")
    if host:
        # As in libpq it replaces the host alone: a port of the address stays.
        port = port or ",".join(str(port) for _, port in endpoints if port)
        endpoints = list(_endpoints(host, quoted=False))
    return PostgresUrl(
        hosts=tuple(host for host, _ in endpoints),
        ports=_ports(endpoints, port),
        user=options.get("user") or unquote(user) or None,
        password=options.get("password") or (unquote(password) if has_password and password else None),
        database=options.get("dbname") or options.get("database") or unquote(path) or None,
        client=_client_options(options),
        startup=_startup_parameters(options),
        session=_session_settings(options),
        connect_timeout_s=float(options.get("connect_timeout", 0)) or None,
        transaction_pooler=options.get("pgbouncer") == "true",
    )


def _split(rest: str) -> tuple[str, str, str, str]:
    """Return credentials, hosts, database and query. As in libpq a password may hold `?`, `#` and `:` as they are."""
    head = rest.partition("/")[0]
    before_query = head.partition("?")[0]
    at = (before_query if "@" in before_query else head).rfind("@")
    address, _, query = rest[at + 1 :].partition("?")
    hosts, _, path = address.partition("/")
    if "@" in path or "#" in hosts + path:
        raise PostgresUrlError(
            "a well-formed URL: /, @ and # in its user, password and database are written %2F, %40 and %23"
        )
    return rest[: max(at, 0)], hosts, path, query


def _options(query: str) -> Iterator[tuple[str, str]]:
    """Return what is set, by name."""
    for pair in filter(None, query.split("&")):
        name, equals, raw = pair.partition("=")
        option, value = OPTIONS.get(unquote(name)), unquote(raw)
        if option is None:
            raise PostgresUrlError(f"a URL without the option {_shown(name)}, which is unknown here")
        if not equals:
            raise PostgresUrlError(f"a URL whose option {name} has a value")
        if value:
            _check(name, option, value)
            yield name, value


def _check(name: str, option: Option, value: str) -> None:
    if option.values and value not in option.values:
        *others, last = option.values
        raise PostgresUrlError(f"a URL whose {name} is {', '.join(others)}{' or ' if others else ''}{last}")
    if option.is_number and not re.fullmatch("[0-9]{1,6}", value):
        raise PostgresUrlError(f"a URL whose {name} is a whole number")
    if option.is_file and not (name == "sslrootcert" and value == "system") and not os.access(value, os.R_OK):
        raise PostgresUrlError(f"a URL whose {name} is a file that can be read")


def _shown(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def _endpoints(addresses: str, *, quoted: bool) -> Iterator[tuple[str, int | None]]:
    """Return each host with its port, where it has one."""
    for address in filter(None, [addresses] if not addresses else addresses.split(",")):
        if address.startswith("/"):
            yield address, None
            continue
        match = _HOST.fullmatch(address)
        if match is None:
            raise PostgresUrlError("a URL whose hosts and ports are well-formed")
        host = match["v6"] or match["name"] or "localhost"
        yield unquote(host) if quoted else host, _port(match["port"])


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= _HIGHEST_PORT:
        raise PostgresUrlError(f"a URL whose ports are numbers from 1 to {_HIGHEST_PORT}")
    return int(text)


def _ports(endpoints: Sequence[tuple[str, int | None]], option: str | None) -> tuple[int, ...]:
    """Return a port for each host, or none at all where none is named."""
    named = [_port(text) for text in option.split(",")] if option else []
    if len(named) > 1 and len(named) != len(endpoints):
        raise PostgresUrlError("a URL with one port, or as many as hosts")
    defaults = named if len(named) > 1 else named * max(len(endpoints), 1)
    if not endpoints:
        return tuple(port or _DEFAULT_PORT for port in defaults)
    ports = [port or default for (_, port), default in zip_longest(endpoints, defaults)]
    return tuple(port or _DEFAULT_PORT for port in ports) if any(ports) else ()


def _client_options(options: Mapping[str, str]) -> dict[str, str]:
    """Return what the client library is told."""
    told = {name: value for name, value in options.items() if OPTIONS[name].handling is Handling.PASSED_ON}
    if options.get("ssl") == "true":
        told.setdefault("sslmode", "require")
    if told.get("sslrootcert") == "system":
        told.setdefault("sslmode", "verify-full")
        told["sslrootcert"] = _authorities_of_the_system()
    mode = told.get("sslmode")
    if mode in _VERIFYING and not (told.get("sslrootcert") or _has_root_certificate()):
        raise PostgresUrlError(f"a URL with sslrootcert, a file or the word system, since its sslmode is {mode}")
    if told.get("sslnegotiation") == "direct" and mode not in {"require", *_VERIFYING}:
        raise PostgresUrlError(
            "a URL whose sslmode is require, verify-ca or verify-full, since its sslnegotiation is direct"
        )
    return told


def _authorities_of_the_system() -> str:
    found = ssl.get_default_verify_paths().cafile
    if found is None:
        raise PostgresUrlError("a URL whose sslrootcert is a file, since the system has no certificates of its own")
    return found


def _has_root_certificate() -> bool:
    return (Path.home() / ".postgresql" / "root.crt").exists()


def _startup_parameters(options: Mapping[str, str]) -> dict[str, str]:
    """Return what is sent with the first message; a pooler knows the name, and a cloud's proxy its own words."""
    parameters = {"application_name": options["application_name"]} if "application_name" in options else {}
    words = [word for word in _words(options) if not word.startswith("-")]
    return parameters | ({"options": " ".join(words)} if words else {})


def _session_settings(options: Mapping[str, str]) -> dict[str, str]:
    """Return the settings to be made in each session, in the order in which they are given."""
    settings = {name: options[name] for name in ("search_path",) if name in options}
    if schema := options.get("schema"):
        settings["search_path"] = f'"{schema}"'
    for word in _words(options):
        if not word.startswith("-"):
            continue
        match = _SETTING.fullmatch(word)
        if match is None or match[1] not in (*SESSION_SETTINGS, *OWN_SETTINGS):
            named = f"no {match[1]}" if match else "only -c name=value"
            raise PostgresUrlError(f"a URL whose options have {named}: known are {', '.join(SESSION_SETTINGS)}")
        if match[1] not in OWN_SETTINGS:
            settings[match[1]] = match[2]
    for name, value in settings.items():
        if not _SETTING_VALUE.fullmatch(value):
            raise PostgresUrlError(f'a URL whose {name} has only letters, digits, blanks and $ " , . : + - _')
    return settings


def _words(options: Mapping[str, str]) -> list[str]:
    """Return the words of `options`, a `-c` joined with what follows it."""
    text = re.sub(r"(^|\s)-c\s+", r"\1-c", options.get("options", "").replace("+", " "))
    return [word.replace("\\ ", " ") for word in re.findall(r"(?:\\\s|\S)+", text)]
