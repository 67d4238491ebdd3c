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
        Misconfigured: In one sentence, for the first such variable.
    """
    for name, problem in refused_variables(environ, argv).items():
        raise Misconfigured(f"the environment variable {name} {problem}")


def refused_variables(environ: Mapping[str, str], argv: Sequence[str] = ()) -> dict[str, str]:
    """Return the variables that `refuse_environment` refuses, with what is wrong with each."""
    changing = [
        *(
            prefix + name
            for name, options in _CHANGES_PROCESS.items()
            if not any(argument.startswith(option) for argument in argv for option in options)
            for prefix in _PREFIXES
        ),
        *_CHANGES_FAUST,
    ]
    refused = {name: "changes Faust itself, so it must not be set" for name in changing if environ.get(name)}
    for name, kind in _NUMBERS.items():
        for prefix in _PREFIXES:
            if problem := _why_no_number(kind, environ.get(prefix + name, "0")):
                refused[prefix + name] = problem
    return refused


def _why_no_number(kind: type[int | float], text: str) -> str | None:
    try:
        kind(text)
    except ValueError:
        # As a Kubernetes Service named faust-web sets it.
        remedy = "set enableServiceLinks: false in the Pod's spec" if "://" in text else "it must not be set"
        return f"is read by Faust as a number: {remedy}"
    return None
