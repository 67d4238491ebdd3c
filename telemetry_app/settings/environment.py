"""The environment and `.env`, as people, shells, containers and clusters really fill them."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic_settings import PydanticBaseSettingsSource

from telemetry_app.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dotenv.parser import Binding
    from pydantic.fields import FieldInfo

#: Windows' editors begin a file with a mark that would become part of the first name.
_ENCODING: Final = "utf-8-sig"
#: What Kubernetes sets for every Service of the namespace, and Docker for a link, in `<SERVICE>_PORT`.
_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
#: What a shell, compose, Kubernetes or Helm should have replaced.
_UNEXPANDED: Final = re.compile(r"\$\{|\$\(|\{\{|^\$\w+$|^%\w+%$")
_QUOTES: Final = "\"'`“”„‟«»‘’‚‛"  # noqa: RUF001 - those of word processors
#: What does not show: control and format characters, such as a zero-width space.
_INVISIBLE: Final = {"Cc", "Cf", "Co", "Cs"}
#: What `.env` takes from other variables; with `:-` there is something else to take.
_TAKEN: Final = re.compile(r"\$\{([^}:]*)\}")
#: A value that is not a URL at all is cut in messages: it may be a pasted file.
_SHOWN_CHARS: Final = 250
#: A name with what people write or copy in front of it or behind it.
_NAME: Final = re.compile(r"^\W*(?:export\s+|set\s+|env:)?\W*(\w+)\W*$")
#: A URL without an @ whose first colon is followed by no port: by a password, then, whose host is missing.
_HOSTLESS: Final = re.compile(r"^([^\s/]*://[^\s:@/?\[]*):(?!\d{0,5}(?:[/?,#]|$))[^@]*$")


class BadVariables(ValueError):  # noqa: N818 - they are what is wrong
    """Some variables cannot mean what they say; `problems` has a clause for each name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(", ".join(problems))
        self.problems = problems


class Environment(PydanticBaseSettingsSource):
    """Variables of the process, then those of `.env`, tidied.

    Blanks, carriage returns and one pair of quotes around a value are left away: `docker --env-file` and Windows'
    editors leave them there. What else cannot be meant is refused by name.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the base's signature
        """Return the text of one field, None where there is none."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the text of each field that is set.

        Raises:
            BadVariables: What is set cannot be meant.
            OSError: `.env` cannot be read.
            UnicodeDecodeError: It is not text.
        """
        fields = self.settings_cls.model_fields
        ours = {name: text for name, text in _own(os.environ, fields).items() if not is_service_link(name, text)}
        tidied = {name: tidy(text) for name, text in {**_from_file(Path(".env"), fields), **ours}.items()}
        problems = {
            name.upper(): problem for name, text in tidied.items() if (problem := _why_not_meant(text)) is not None
        }
        if problems:
            raise BadVariables(problems)
        return tidied


def service_links(fields: Collection[str], environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the variables of ours that a Service of Kubernetes has set, which are left out."""
    return sorted(name.upper() for name, text in _own(environ, fields).items() if is_service_link(name, text))


def is_service_link(name: str, text: str) -> bool:
    """Tell whether a variable is what a Service of Kubernetes makes, and not meant for us."""
    return name.rpartition("_")[2] == "port" and _SERVICE_LINK.fullmatch(text) is not None


def tidy(text: str) -> str:
    """Return a value without the blanks, and the pair of quotes, around it; a raw # of a password is encoded."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    scheme, separator, rest = text.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{user.replace('#', '%23')}{at}{host}" if separator else text


def shown(value: object) -> str:
    """Return a value as messages show it: short, and without a password."""
    if isinstance(value, str) and "://" not in value:
        # A URL without its scheme still carries its password.
        value = re.sub(r"^.*@", "***@", value, flags=re.DOTALL)
    elif isinstance(value, str):
        value = _HOSTLESS.sub(r"\1:***", redact_url(value))
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _from_file(path: Path, fields: Collection[str]) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(encoding=_ENCODING, newline="") as file:
        lines = list(parse_stream(file))
    values = dotenv_values(path, encoding=_ENCODING)
    if any("\0" in line.original.string for line in lines):
        raise BadVariables({".env": "is not UTF-8: save it as UTF-8"})
    for line in lines:
        _refuse_skipped(line, fields)
        _refuse_empty_parts(line, fields, known={*values, *os.environ})
    return _own({name: text for name, text in values.items() if text is not None}, fields)


def _refuse_skipped(line: Binding, fields: Collection[str]) -> None:
    """Refuse a line that names one of ours and sets nothing, which would be skipped."""
    if not line.error and (not line.key or line.value is not None):
        return
    # Shells and container files have words in front of a name: `declare -x`, `setx`, `ENV`.
    first, *others = re.findall(r"\w+", line.original.string.partition("=")[0]) or [""]
    for name in (first.upper(), *others):
        if name == name.upper() and name.lower() in fields:
            raise BadVariables({name: f"cannot be read in line {line.original.line} of .env: write NAME=value"})


def _refuse_empty_parts(line: Binding, fields: Collection[str], known: Collection[str]) -> None:
    """Refuse a value made of variables that are not set, which would be made of nothing."""
    if line.key and line.key.lower() in fields:
        for name in _TAKEN.findall(line.value or ""):
            if name not in known:
                raise BadVariables({line.key.upper(): f"takes ${{{name}}} in .env, which is not set"})


def _own(variables: Mapping[str, str], fields: Collection[str]) -> dict[str, str]:
    """Return our variables by field, however their names are capitalised.

    Raises:
        BadVariables: A name would be ours without what stands around it.
    """
    found: dict[str, str] = {}
    for name, text in variables.items():
        if name.lower() in fields:
            found[name.lower()] = text
        elif (match := _NAME.match(name)) and match[1].lower() in fields:
            raise BadVariables({match[1].upper(): f"is set under the name {name!r}, with more than the name in it"})
    return found


def _why_not_meant(text: str) -> str | None:
    for character in text:
        if unicodedata.category(character) in _INVISIBLE:
            return f"is {shown(text)}, but must be without the invisible character U+{ord(character):04X}"
    if _UNEXPANDED.search(text):
        return f"is {shown(text)}, but must be the value itself: nothing has replaced the placeholder"
    if text and (text[0] in _QUOTES or text[-1] in _QUOTES):
        return f"is {shown(text)}, but must be without quotes"
    return None
