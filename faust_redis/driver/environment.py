"""Environment variables that Faust reads while it is imported, before any application could keep it from that."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from faust_redis.redis.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PREFIXES: Final = ("FAUST_", "F_")
#: What changes the process whatever the application says, and the options that set the same variable.
_CHANGES_PROCESS: Final = {
    "DEBUG": ("--debug",),
    "LOOP": ("--loop", "-L"),
    "STRICT": (),
    "WORKDIR": ("--workdir", "-W"),
}
#: The same, without a prefix: other code for the same work, and logs of Faust's own development.
_CHANGES_FAUST: Final = ("DEVLOG", "NO_CYTHON", "TYPEXPR_DEBUG")
#: What is only read, by these: anything else, nothing included, ends the import.
_NUMBERS: Final[Mapping[str, type[int | float]]] = {"BLOCKING_TIMEOUT": float, "CONSOLE_PORT": int, "WEB_PORT": int}


def refuse_environment(environ: Mapping[str, str] = os.environ, argv: Sequence[str] = sys.argv) -> None:
    """Refuse the variables by which Faust changes the process behind the application's back.

    Its other variables have no effect on an `App`.

    Args:
        environ: The environment.
        argv: The command line: Faust copies some of its own options into the environment.

    Raises:
        Misconfigured: Such a variable is set.
    """
    for name, options in _CHANGES_PROCESS.items():
        if not any(argument.startswith(option) for argument in argv for option in options):
            for prefix in _PREFIXES:
                _refuse(environ, prefix + name)
    for name in _CHANGES_FAUST:
        _refuse(environ, name)
    for name, kind in _NUMBERS.items():
        for prefix in _PREFIXES:
            _refuse_unless(kind, environ, prefix + name)


def _refuse(environ: Mapping[str, str], name: str) -> None:
    if environ.get(name):
        raise Misconfigured(f"the environment variable {name} changes Faust itself, so it must not be set")


def _refuse_unless(kind: type[int | float], environ: Mapping[str, str], name: str) -> None:
    text = environ.get(name, "0")
    try:
        kind(text)
    except ValueError:
        # As a Kubernetes Service named faust-web sets it.
        remedy = "set enableServiceLinks: false in the Pod's spec" if "://" in text else "it must not be set"
        raise Misconfigured(f"the environment variable {name} is read by Faust as a number: {remedy}") from None
