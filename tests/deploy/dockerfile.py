"""The Dockerfile, read as far as the tests ask."""

from __future__ import annotations

import json
import re

from tests.conftest import PROJECT

PATH = PROJECT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the last stage as pairs of name and rest, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", PATH.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]
    last = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    return found[last:]


def health_check() -> list[str]:
    """Return the command by which the container's health is asked."""
    (rest,) = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    command: list[str] = json.loads(rest.partition("CMD ")[2])
    return command


def variables() -> dict[str, str]:
    """Return the variables that the image sets."""
    pairs = [pair for name, rest in instructions() if name == "ENV" for pair in rest.split()]
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def copied() -> set[str]:
    """Return what any stage copies out of the project."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", PATH.read_text(), flags=re.MULTILINE)
    return {name for line in lines for name in line.split()}
