"""Servers and tools of Debian's own suite for the tests: the machine's own, else unpacked and run from there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers.debian import PackagesUnavailableError, install_once, suite

# What only package scripts and web pages call, and the C library: of the same suite as the machine's own.
UNWANTED = re.compile(
    r"adduser|daemon$|debconf|dpkg|fonts|gcc-\d+-base|iproute2|init-system|libc6$|libgcc-s1|libjs-|lsb-base|perl|node-|nodejs"
    r"|passwd|postgresql-|sensible-utils|systemd|sysvinit|tar$|ucf"
)
_CACHE = Path(__file__).parents[3] / ".cache" / "packaged"


@dataclass(frozen=True)
class Program:
    """A program that can be started: where it is, and the variables that it needs on top of the test's own."""

    executable: Path
    env: Mapping[str, str] = field(default_factory=dict)


def nginx() -> Program:
    """Return Debian's nginx.

    Raises:
        PackagesUnavailableError: It cannot be had here.
    """
    return _program("nginx", ("nginx-light",), "usr/sbin/nginx")


def promtool() -> Program:
    """Return the tool of Debian's Prometheus that checks rules.

    Raises:
        PackagesUnavailableError: It cannot be had here.
    """
    return _program("promtool", ("prometheus",), "usr/bin/promtool")


def pgbouncer() -> Program:
    """Return Debian's PgBouncer.

    Raises:
        PackagesUnavailableError: It cannot be had here.
    """
    return _program("pgbouncer", ("pgbouncer",), "usr/sbin/pgbouncer")


def _program(name: str, packages: Sequence[str], path: str) -> Program:
    if found := shutil.which(name):
        return Program(Path(found))
    try:
        prefix = install_once(_CACHE, packages, of_suite=suite(), unwanted=UNWANTED, adapt=lambda *_: None)
    except PackagesUnavailableError as error:
        raise PackagesUnavailableError(
            f"{name} for the tests cannot be had from Debian's packages: {error}\n"
            f"Install a {name} that is found on the PATH."
        ) from error
    folders = {library.parent for library in prefix.glob("**/*-linux-gnu*/**/lib*.so*")}
    variables = {"LD_LIBRARY_PATH": ":".join(str(folder) for folder in sorted(folders))} if folders else {}
    return Program(prefix / path, variables)
