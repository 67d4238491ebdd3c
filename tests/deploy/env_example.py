"""`.env.example`, made of the settings: `python -m tests.deploy.env_example > .env.example`."""

from __future__ import annotations

import textwrap

from telemetry_app.settings import Settings, bound_phrase
from tests.conftest import PROJECT

PATH = PROJECT / ".env.example"
WIDTH = 100
HEAD = """\
# Every setting, with its default: copy this file to .env and uncomment what shall differ.
# Write values without quotes and without a comment behind them.
"""
#: Defaults that depend on the machine, in words.
OF_THE_MACHINE = {"instance_id": "(host name, -, 6 random hex digits)", "log_format": "json"}


def text() -> str:
    settings = "\n".join(_setting(name) for name in Settings.model_fields)
    return HEAD + "\n" + settings


def _setting(name: str) -> str:
    description = (Settings.model_fields[name].description or "").replace("`", "")
    words = textwrap.wrap(f"{description}; {bound_phrase(name)}.", WIDTH, initial_indent="# ", subsequent_indent="#   ")
    return "\n".join([*words, f"#{name.upper()}={_default(name)}", ""])


def _default(name: str) -> str:
    if name in OF_THE_MACHINE:
        return OF_THE_MACHINE[name]
    default = Settings.model_fields[name].default
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, frozenset):
        return ",".join(sorted(default, reverse=True))
    return ",".join(default) if isinstance(default, tuple) else str(default)


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - the file
